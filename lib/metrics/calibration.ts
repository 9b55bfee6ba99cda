import { checkSeed, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { checkWhole } from "../core/option-values.ts";
import { checkList, checkNumbers } from "./arguments.ts";

/** One bin of a reliability diagram: answers whose confidence is in the same interval. */
export interface ReliabilityBin {
  /** The bin's interval of confidences, (from, to]. The first bin also includes 0. */
  from: number;
  /** The upper end of the interval. */
  to: number;
  /** Number of answers in the bin. */
  count: number;
  /** Mean confidence. null if the bin is empty. */
  confidence: number | null;
  /** Share of correct answers. null if the bin is empty. */
  accuracy: number | null;
}

/** How well confidences match the share of correct answers. */
export interface Calibration {
  /** Expected calibration error: the mean of |accuracy − confidence| of the bins, weighted by their number of answers. */
  ece: number;
  /** Bootstrap percentile interval of the ECE (Efron 1979). */
  eceInterval: { low: number; high: number; level: number };
  /** Maximum calibration error: the largest |accuracy − confidence| of a bin. */
  maximumError: number;
  /** Brier score of the given answers: the mean squared difference between confidence and correctness (0 or 1) (Brier 1950). */
  brier: number;
  /** The reliability diagram. */
  bins: ReliabilityBin[];
  /** Number of answers. */
  count: number;
}

/** Options of `calibration`. */
export interface CalibrationOptions {
  /** Number of bins of equal width over [0, 1], at most 10,000. Default 15, as in Guo et al. 2017. */
  bins?: number | undefined;
  /** Number of bootstrap resamples, at most 1,000,000. Default 1000. With 0, both ends of the interval are the ECE itself. */
  bootstrap?: number | undefined;
  /** Confidence level of the interval: the share of resamples inside it. Default 0.95. */
  level?: number | undefined;
  /** Seed of the resamples. Default 0. */
  seed?: number | undefined;
}

const NAMES: Readonly<Record<keyof CalibrationOptions, true>> = {
  bins: true,
  bootstrap: true,
  level: true,
  seed: true,
};

/** Checks the options, so that callers can reject bad ones before they compute answers. @throws HeddleError INVALID_ARGUMENT */
export function checkCalibrationOptions(options: CalibrationOptions): void {
  if (!isObject(options)) throw invalidArgument("calibration", "an object of options", options);
  const names = Object.keys(NAMES);
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalidArgument("calibration", `one of ${names.join(", ")}`, unknown);
  const { bins = 15, bootstrap = 1000, level = 0.95, seed = 0 } = options;
  checkWhole("bins", bins, 1, 10_000);
  checkWhole("bootstrap", bootstrap, 0, 1_000_000);
  if (typeof level !== "number" || !(level > 0 && level < 1))
    throw invalidArgument("level", "a number above 0 and below 1", level);
  checkSeed(seed);
}

/**
 * Measures how far confidences are from the shares of correct answers (Naeini et al. 2015; Guo et al. 2017).
 * @param confidences in [0, 1] @param correct whether each answer is correct
 * @throws HeddleError INVALID_ARGUMENT
 */
export function calibration(
  confidences: readonly number[],
  correct: readonly boolean[],
  options: CalibrationOptions = {},
): Calibration {
  checkNumbers("confidences", confidences);
  checkList("correct", correct, confidences.length);
  checkCalibrationOptions(options);
  const { bins = 15, bootstrap = 1000, level = 0.95, seed = 0 } = options;
  const count = confidences.length;
  /** The bin of each answer. NaN confidences go to bin 0 and make the figures NaN. */
  const binOf = Int32Array.from(confidences, (c) => {
    const b = Math.min(bins - 1, Math.max(0, Math.ceil(c * bins) - 1));
    // The product may round up across the border: 0.07 * 100 is 7.000000000000001.
    return b > 0 && c <= b / bins ? b - 1 : b;
  });
  const totals = { count: new Float64Array(bins), confidence: new Float64Array(bins), right: new Float64Array(bins) };
  const add = (i: number) => {
    const b = binOf[i]!;
    totals.count[b]! += 1;
    totals.confidence[b]! += confidences[i]!;
    totals.right[b]! += correct[i] ? 1 : 0;
  };
  const clear = () => {
    for (const t of Object.values(totals)) t.fill(0);
  };
  const ece = () => {
    let sum = 0;
    for (let b = 0; b < bins; b++) sum += Math.abs(totals.right[b]! - totals.confidence[b]!);
    return count > 0 ? sum / count : Number.NaN;
  };
  const resampled: number[] = [];
  const random = mulberry(seed);
  for (let r = 0; count > 0 && r < bootstrap; r++) {
    clear();
    for (let i = 0; i < count; i++) add(Math.floor(random() * count));
    resampled.push(ece());
  }
  clear();
  for (let i = 0; i < count; i++) add(i);
  const value = ece();
  const filled = Array.from({ length: bins }, (_, b): ReliabilityBin => {
    const n = totals.count[b]!;
    return {
      from: b / bins,
      to: (b + 1) / bins,
      count: n,
      confidence: n > 0 ? totals.confidence[b]! / n : null,
      accuracy: n > 0 ? totals.right[b]! / n : null,
    };
  });
  return {
    ece: value,
    eceInterval: { ...interval(resampled, level, value), level },
    maximumError: filled.reduce((m, b) => (b.count > 0 ? Math.max(m, Math.abs(b.accuracy! - b.confidence!)) : m), 0),
    brier: confidences.reduce((sum, c, i) => sum + (c - (correct[i] ? 1 : 0)) ** 2, 0) / count,
    bins: filled,
    count,
  };
}

/** Returns the percentile interval of the resampled values. Both ends are `otherwise` for an empty list, or if `otherwise` is NaN. */
function interval(values: number[], level: number, otherwise: number): { low: number; high: number } {
  if (values.length === 0 || Number.isNaN(otherwise)) return { low: otherwise, high: otherwise };
  values.sort((a, b) => a - b);
  const at = (share: number) => values[Math.min(values.length - 1, Math.floor(share * values.length))]!;
  return { low: at((1 - level) / 2), high: at((1 + level) / 2) };
}

/** Returns a generator of uniform numbers in [0, 1): mulberry32 (T. Ettinger), whose quality suffices for resampling. */
function mulberry(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
