import type { Mask } from "../../constrain/index.ts";
import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { eachUrgently } from "../../core/slices.ts";
import type { LogitContext, ResolvedOptions } from "../generation-options.ts";
import { processLogits } from "../sampling/logit-processors.ts";
import { choiceOf, type SampleResults } from "../sampling/sample-results.ts";
import type { Choice } from "../sequence.ts";
import type { Continuations } from "./beam-search.ts";

/** Whether beams are chosen by the model's unchanged distribution. Native code then finds the likeliest tokens. */
export function isPlain(options: ResolvedOptions): boolean {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, biasIds, logitProcessors, automaton } = options;
  const penalized = repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
  return !penalized && biasIds.length === 0 && logitProcessors.length === 0 && automaton === undefined;
}

/**
 * Returns the likeliest tokens of a row, for which the program reports `stride` tokens.
 * @param top number of tokens that each choice reports
 */
export function plainContinuations(results: SampleResults, row: number, stride: number, top: number): Continuations {
  const tokens = results.topIds!.subarray(row * stride, (row + 1) * stride);
  const scores = results.topLogprobs!.subarray(row * stride, (row + 1) * stride);
  return { tokens, scores, choice: (k) => choice(tokens[k]!, scores[k]!, { results, row, stride, top }) };
}

interface TopOf {
  results: SampleResults;
  row: number;
  stride: number;
  top: number;
}

function choice(token: number, logprob: number, { results, row, stride, top }: TopOf): Choice {
  return { ...choiceOf(results, row, stride, top), token, logprob };
}

/**
 * Returns the likeliest tokens of rows after processors, bias, masks and penalties, which change log-probabilities in
 * this order.
 * @param results results of the rows, with logits
 * @param contexts the context of each row
 * @param of.width number of tokens wanted per row
 * @param of.masks the tokens allowed in each row; undefined allows all
 * @throws HeddleError NUMERICAL, ABORTED
 */
export async function changedContinuations(
  results: SampleResults,
  contexts: readonly LogitContext[],
  of: {
    options: ResolvedOptions;
    firstRow: number;
    vocabSize: number;
    width: number;
    stride: number;
    masks: readonly (Mask | undefined)[];
  },
): Promise<Continuations[]> {
  const { options, firstRow, vocabSize, width, stride, masks } = of;
  const out: Continuations[] = [];
  await eachUrgently(contexts.entries(), ([i, context]) => {
    throwIfAborted(options.signal);
    const row = firstRow + i;
    const raw = results.logits!.subarray(row * vocabSize, (row + 1) * vocabSize);
    // A logit minus its log-probability is the same for all tokens: the logarithm of the softmax's denominator.
    const logSum = raw[results.token[row]!]! - results.logprob[row]!;
    const changed = new Float32Array(vocabSize);
    for (let id = 0; id < vocabSize; id++) changed[id] = raw[id]! - logSum;
    processLogits(changed, options.logitProcessors, context);
    addBias(changed, options);
    forbid(changed, masks[i]);
    penalize(changed, context, options);
    const tokens = likeliest(changed, width);
    const scores = Float32Array.from(tokens, (token) => changed[token]!);
    const top = options.topLogprobs;
    const logprobOf = (token: number) => raw[token]! - logSum;
    out.push({
      tokens,
      scores,
      choice: (k) => choice(tokens[k]!, logprobOf(tokens[k]!), { results, row, stride, top }),
    });
  });
  return out;
}

function addBias(logprobs: Float32Array, { biasIds, biasValues }: ResolvedOptions): void {
  for (const [i, id] of biasIds.entries()) logprobs[id]! += biasValues[i]!;
}

function forbid(logprobs: Float32Array, mask: Mask | undefined): void {
  if (!mask) return;
  if ("forbidden" in mask) for (const id of mask.forbidden) logprobs[id] = Number.NEGATIVE_INFINITY;
  else {
    const kept = Float32Array.from(mask.allowed, (id) => logprobs[id]!);
    logprobs.fill(Number.NEGATIVE_INFINITY);
    for (const [i, id] of mask.allowed.entries()) logprobs[id] = kept[i]!;
  }
}

/** Applies penalties like the sampler. `ids` may contain duplicates. */
function penalize(logprobs: Float32Array, { ids, promptLength }: LogitContext, options: ResolvedOptions): void {
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  if (repetitionPenalty !== 1)
    for (const id of new Set(ids)) {
      const value = logprobs[id]!;
      logprobs[id] = value > 0 ? value / repetitionPenalty : value * repetitionPenalty;
    }
  if (presencePenalty === 0 && frequencyPenalty === 0) return;
  const counts = new Map<number, number>();
  for (let i = promptLength; i < ids.length; i++) counts.set(ids[i]!, (counts.get(ids[i]!) ?? 0) + 1);
  for (const [id, count] of counts) logprobs[id]! -= presencePenalty + frequencyPenalty * count;
}

/**
 * Returns the ids of the `count` largest values, largest first, ties by id.
 * @throws HeddleError NUMERICAL for NaN and +∞
 */
function likeliest(values: Float32Array, count: number): Int32Array {
  const ids = new Int32Array(Math.min(count, values.length));
  let held = 0;
  let least = Number.NEGATIVE_INFINITY; // the smallest value kept, once there are `count`
  for (let id = 0; id < values.length; id++) {
    const value = values[id]!;
    if (!(value < Number.POSITIVE_INFINITY))
      throw new HeddleError(
        "NUMERICAL",
        `logits after processors, bias and penalties: expected finite numbers or -Infinity, got ${value} for token ${id}`,
      );
    if (held === ids.length && !(value > least)) continue;
    let place = held === ids.length ? held - 1 : held++;
    for (; place > 0 && values[ids[place - 1]!]! < value; place--) ids[place] = ids[place - 1]!;
    ids[place] = id;
    least = values[ids[held - 1]!]!;
  }
  return ids;
}
