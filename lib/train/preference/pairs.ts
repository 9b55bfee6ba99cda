import type { TensorData } from "../../graph/index.ts";
import { mean } from "../../metrics/mean.ts";
import type { Metrics } from "../loop/stage.ts";
import { type AnsweredPrompt, type AnswerRows, answerRows } from "./sequences.ts";

/** A better and a worse answer to one prompt. */
export interface PreferencePair {
  readonly chosen: AnsweredPrompt;
  readonly rejected: AnsweredPrompt;
  /** Margin by which the chosen answer should win, if the row has a margin. */
  readonly margin?: number | undefined;
}

/** Log-probabilities of whole answers under the reference. */
export interface ReferencedPair extends PreferencePair {
  readonly reference: { chosen: number; rejected: number };
}

/**
 * Places the pairs of a micro-batch in one forward pass: all chosen answers, then all rejected answers.
 * @param pairs number of slots for pairs; empty slots are last in each half
 */
export function pairRows(
  batch: readonly PreferencePair[],
  pairs: number,
  sequenceLength: number,
  options: Parameters<typeof answerRows>[2] = {},
): AnswerRows {
  const side = (name: "chosen" | "rejected") => Array.from({ length: pairs }, (_, i) => batch[i]?.[name]);
  return answerRows([...side("chosen"), ...side("rejected")], sequenceLength, options);
}

/** Returns a number for each pair, 0 for empty slots. */
export function perPair<Pair>(batch: readonly Pair[], pairs: number, value: (pair: Pair) => number): Float32Array {
  return Float32Array.from({ length: pairs }, (_, i) => (i < batch.length ? value(batch[i]!) : 0));
}

/** Returns a number for each sequence, chosen answers first; 0 for empty slots. */
export function perAnswer<Pair extends PreferencePair>(
  batch: readonly Pair[],
  pairs: number,
  value: (answer: AnsweredPrompt, pair: Pair) => number,
): Float32Array {
  const chosen = perPair(batch, pairs, (pair) => value(pair.chosen, pair));
  const rejected = perPair(batch, pairs, (pair) => value(pair.rejected, pair));
  return Float32Array.from([...chosen, ...rejected]);
}

/**
 * Mean rewards of chosen and rejected answers, their difference, and the share of pairs with a higher reward for the
 * chosen answer.
 */
export function rewardMetrics(
  outputs: readonly Readonly<Record<string, TensorData>>[],
  batches: readonly (readonly unknown[])[],
): Metrics {
  const chosen = outputs.flatMap((o, i) => [...o.chosenRewards!.subarray(0, batches[i]!.length)]);
  const rejected = outputs.flatMap((o, i) => [...o.rejectedRewards!.subarray(0, batches[i]!.length)]);
  const wins = chosen.filter((reward, i) => reward > rejected[i]!).length;
  const [c, r] = [mean(chosen), mean(rejected)];
  return { rewardChosen: c, rewardRejected: r, rewardMargin: c - r, rewardAccuracy: wins / chosen.length };
}

/** The mean over all pairs of an output with one number per pair. */
export function pairMean(
  name: string,
  outputs: readonly Readonly<Record<string, TensorData>>[],
  batches: readonly (readonly unknown[])[],
): number {
  return mean(outputs.flatMap((o, i) => [...o[name]!.subarray(0, batches[i]!.length)]));
}
