import type { Device } from "../graph/index.ts";

/** Unit of a case's value; greater is better. */
export type BenchUnit = "GFLOP/s" | "GB/s" | "tokens/s" | "MB/s";

/** A ceiling of the machine, as measured by simple work of this package: a large product, a long read. */
export type CeilingName = "f32" | "bf16" | "read";

/** Something that is measured. Greater is better. */
export interface BenchCase {
  readonly name: string;
  readonly unit: BenchUnit;
  /** Work of one run in the unit's numerator: 10⁹ floating-point operations, tokens, or 10⁶ bytes. */
  readonly work: number;
  /** The ceiling over it, and how much of that one run needs: floating point operations, or bytes read. */
  readonly bound?: { readonly ceiling: CeilingName; readonly amount: number } | undefined;
  /** Does it once. @returns the seconds of the part that counts */
  run(): Promise<number>;
}

/** Cases of one kind, made one after another: what one holds is freed when the next is asked for. */
export type BenchSuite = (context: SuiteContext) => AsyncGenerator<BenchCase, void, undefined>;

export interface SuiteContext {
  device: Device;
  /** A model to measure instead of those with random weights. */
  model: string | undefined;
  /** A folder for what is made on the way; it is removed afterwards. */
  scratch: string;
  /** Small shapes: shows the machinery, measures nothing of worth. */
  quick: boolean;
}

/** A case as it was measured. */
export interface BenchResult {
  name: string;
  /** In `unit`, the median over the rounds. */
  value: number;
  unit: BenchUnit;
  /** Median share of the ceiling measured in the same rounds, or null. */
  roofline: number | null;
  /**
   * The measured ceiling of `roofline`, in floating-point operations or bytes per second. The share is also known as MFU for products and MBU
   * for bytes, but relative to this machine's measured rate instead of the vendor's.
   */
  ceiling: { name: CeilingName; value: number } | null;
  /** In `unit`: what the median is between with 90 % confidence. */
  interval: [low: number, high: number];
  /**
   * The value relative to the machine's speed in the same rounds, and its interval. The speed is the bandwidth for memory-bound cases, else
   * the clock. This makes runs at different times comparable.
   */
  relative: { value: number; interval: [low: number, high: number] };
  rounds: number;
  /** With a baseline that has the case: its value, and how much more (or less) this run did, the machine's own drift taken out. */
  baseline?: { value: number; change: number } | undefined;
}

/** The results of a run, with a description of the machine. */
export interface BenchReport {
  machine: Record<string, string | number>;
  results: BenchResult[];
  /** With a baseline: names of the cases that became slower. */
  regressions?: string[] | undefined;
  /** With a baseline: its cases that were not measured now, and those that it does not have. */
  unmatched?: { missing: string[]; added: string[] } | undefined;
}
