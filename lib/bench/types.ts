import type { Device } from "../graph/index.ts";

/** What a case's value counts; greater is better. */
export type BenchUnit = "GFLOP/s" | "GB/s" | "tokens/s" | "MB/s";

/** What a machine can do at most, as far as this package's own simplest work shows it: a large product, a long read. */
export type CeilingName = "f32" | "bf16" | "read";

/** Something that is measured. Greater is better. */
export interface BenchCase {
  readonly name: string;
  readonly unit: BenchUnit;
  /** What one run does, in the unit's numerator: 10⁹ floating point operations, tokens, 10⁶ bytes. */
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
  /** Share of the ceiling that was measured in the same rounds, the median; null where there is none. */
  roofline: number | null;
  /**
   * The ceiling that `roofline` is a share of, as it was measured: floating point operations or bytes a second. The share of products is
   * what others call MFU, that of bytes MBU, though over what this machine reached, not over what its maker promises.
   */
  ceiling: { name: CeilingName; value: number } | null;
  /** In `unit`: what the median is between with 90 % confidence. */
  interval: [low: number, high: number];
  /**
   * The value over what the machine itself did in the same rounds (bandwidth for what reads memory, else the clock), so that a run
   * on a slower minute can be held against it; and its interval.
   */
  relative: { value: number; interval: [low: number, high: number] };
  rounds: number;
  /** With a baseline that has the case: its value, and how much more (or less) this run did, the machine's own drift taken out. */
  baseline?: { value: number; change: number } | undefined;
}

/** What a run measured, and on what: without the machine a number says nothing. */
export interface BenchReport {
  machine: Record<string, string | number>;
  results: BenchResult[];
  /** With a baseline: names of the cases that became slower. */
  regressions?: string[] | undefined;
  /** With a baseline: its cases that were not measured now, and those that it does not have. */
  unmatched?: { missing: string[]; added: string[] } | undefined;
}
