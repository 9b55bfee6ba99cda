import type { Device } from "../graph/index.ts";

/** Unit of a case's value. Greater is better. */
export type BenchUnit = "GFLOP/s" | "GB/s" | "tokens/s" | "MB/s";

/** A measured ceiling of the machine: the FLOP/s of a large matrix product in f32 or bf16, or the memory bandwidth (`read`). */
export type CeilingName = "f32" | "bf16" | "read";

/** A benchmark case. */
export interface BenchCase {
  readonly name: string;
  readonly unit: BenchUnit;
  /** Work of one run in the unit's numerator: GFLOP, GB, tokens or MB. */
  readonly work: number;
  /**
   * The ceiling that limits the case, and the work of one run in the ceiling's terms: floating-point operations, or bytes
   * read and written.
   */
  readonly bound?: { readonly ceiling: CeilingName; readonly amount: number } | undefined;
  /** Runs the case once. @returns the seconds of the measured part */
  run(): Promise<number>;
}

/** Yields cases of one kind. Resources of a case are freed when the next one is requested. */
export type BenchSuite = (context: SuiteContext) => AsyncGenerator<BenchCase, void, undefined>;

/** The device and the model that a suite measures. */
export interface SuiteContext {
  device: Device;
  /** Path of a model to measure instead of random weights. */
  model: string | undefined;
  /** Path of a folder for temporary files, which is removed afterwards. */
  scratch: string;
  /** Whether to use small shapes: a smoke test whose figures mean nothing. */
  quick: boolean;
}

/** The result of a case. */
export interface BenchResult {
  /** Name of the case. */
  name: string;
  /** Median over the rounds, in `unit`. */
  value: number;
  /** Unit of `value` and `interval`. */
  unit: BenchUnit;
  /**
   * Median share of the ceiling measured in the same rounds. null for a case without `bound`. It corresponds to MFU for products and to
   * MBU for bytes, but is relative to this machine's measured rate instead of the vendor's.
   */
  roofline: number | null;
  /** The median of the measured ceiling, in floating-point operations or bytes per second. */
  ceiling: { name: CeilingName; value: number } | null;
  /** On a GPU whose data sheet is known: the share of the vendor's rate for dense products or for bytes. */
  dataSheet?: number | undefined;
  /** Interval of the median with 90 % confidence, in `unit`. */
  interval: [low: number, high: number];
  /**
   * The value relative to the machine's speed in the same rounds, and its interval. The speed is the memory bandwidth for memory-bound cases
   * and for GPU work. Otherwise it is a core's clock rate. This makes runs at different times comparable.
   */
  relative: { value: number; interval: [low: number, high: number] };
  /** Number of measured rounds. */
  rounds: number;
  /** With a baseline that has the case: the baseline's value, and the relative change since then, corrected for the machine's drift. */
  baseline?: { value: number; change: number } | undefined;
}

/** The results of a run, with a description of the machine. */
export interface BenchReport {
  /** Facts about the machine, such as its processor and its number of threads. */
  machine: Record<string, string | number>;
  /** The results, one for each case. */
  results: BenchResult[];
  /** With a baseline: names of the cases that have become slower. */
  regressions?: string[] | undefined;
  /** With a baseline: names of the baseline's cases that were not measured, and of measured cases that the baseline lacks. */
  unmatched?: { missing: string[]; added: string[] } | undefined;
}
