import { input, type LogitHead, reshape, segmentSum, split, tokenLogprob, type Value } from "../../graph/index.ts";

/** A prompt and an answer to it, as ids of one sequence. */
export interface AnsweredPrompt {
  readonly ids: Int32Array;
  /** Number of ids of the prompt. The ids after it are the answer. */
  readonly promptLength: number;
}

/** Joins the ids of a prompt and of an answer. */
export function joined(prompt: ArrayLike<number>, answer: ArrayLike<number>): AnsweredPrompt {
  return { ids: Int32Array.from([...Array.from(prompt), ...Array.from(answer)]), promptLength: prompt.length };
}

/** Number of ids of the answer. */
export function answerLength({ ids, promptLength }: AnsweredPrompt): number {
  return ids.length - promptLength;
}

/** Number of rows that predict tokens of a sequence. The last id predicts no token. */
export function rowsOf({ ids }: AnsweredPrompt): number {
  return ids.length - 1;
}

/** Returns the row of a micro-batch that predicts the first token of the answer in a slot. Rows of later tokens follow. */
export function firstAnswerRow({ promptLength }: AnsweredPrompt, slot: number, sequenceLength: number): number {
  return slot * sequenceLength + promptLength - 1;
}

/** Assigns the items of a batch to the `count` slots of a micro-batch. Slots after the last item are empty. */
export function slotsOf<Item>(batch: readonly Item[], count: number): (Item | undefined)[] {
  return Array.from({ length: count }, (_, i) => batch[i]);
}

/** Returns a number for each of the `count` slots of a micro-batch, 0 for empty slots. */
export function perSlot<Item>(batch: readonly Item[], count: number, value: (item: Item) => number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => (i < batch.length ? value(batch[i]!) : 0));
}

/** Location of a sequence's rows in a micro-batch: row `first + i` predicts answer token i. */
interface Placement {
  first: number;
  count: number;
}

/** A micro-batch of sequences in rows, one row per position. */
export interface AnswerRows {
  /**
   * (rows) i32: `ids`, `targets` (−1 at rows that predict no answer token), `sequences` (the index of each row's
   * sequence), `lengths` (the number of ids of that sequence; 0 in an empty slot). `lengths` counts the last id,
   * although that is not an input. RoPE scaling by length is then as when a model scores the whole sequence.
   */
  inputs: { ids: Int32Array; targets: Int32Array; sequences: Int32Array; lengths: Int32Array };
  /** Placement of each sequence; undefined for an empty slot. */
  placements: readonly (Placement | undefined)[];
  /** Total number of ids of all sequences. */
  tokens: number;
}

/** Options of `answerRows`. */
export interface AnswerRowOptions {
  /** Whether the tokens of a sequence's prompt are predicted too. */
  promptTargets?: (sequence: number) => boolean;
  /** Whether the last id is an input too, for a head over the whole sequence. */
  whole?: boolean;
}

/**
 * Places sequences in a micro-batch, `sequenceLength` rows for each. Padding is at the end, where causal attention does not see it.
 * @param sequences undefined for an empty slot
 */
export function answerRows(
  sequences: readonly (AnsweredPrompt | undefined)[],
  sequenceLength: number,
  { promptTargets = () => false, whole = false }: AnswerRowOptions = {},
): AnswerRows {
  const rows = sequences.length * sequenceLength;
  const inputs = {
    ids: new Int32Array(rows),
    targets: new Int32Array(rows).fill(-1),
    sequences: Int32Array.from({ length: rows }, (_, i) => Math.floor(i / sequenceLength)),
    lengths: new Int32Array(rows),
  };
  let tokens = 0;
  const placements = sequences.map((sequence, s) => {
    if (!sequence) return undefined;
    const { ids, promptLength } = sequence;
    const start = s * sequenceLength;
    inputs.ids.set(whole ? ids : ids.subarray(0, rowsOf(sequence)), start);
    const from = promptTargets(s) ? 1 : promptLength;
    inputs.targets.set(ids.subarray(from), start + from - 1);
    inputs.lengths.fill(ids.length, start, start + sequenceLength);
    tokens += ids.length;
    return { first: firstAnswerRow(sequence, s, sequenceLength), count: answerLength(sequence) };
  });
  return { inputs, placements, tokens };
}

/** Returns an array (rows) f32 with a number at every row that predicts a token of an answer, 0 elsewhere. */
export function atAnswers(
  { inputs, placements }: AnswerRows,
  value: (sequence: number, token: number) => number,
): Float32Array {
  const out = new Float32Array(inputs.ids.length);
  for (const [s, placement] of placements.entries())
    for (let i = 0; i < (placement?.count ?? 0); i++) out[placement!.first + i] = value(s, i);
  return out;
}

/**
 * Adds to a trace the log-probabilities of the targets in the named input, 0 at rows without a target.
 * @returns (rows) f32
 */
export function targetLogprobs({ hidden, head }: { hidden: Value; head: LogitHead }, targets = "targets"): Value {
  return tokenLogprob(hidden, head, input(targets, "i32", [hidden.dim(0)])).logprob;
}

/** Adds to a trace the sums of a value's rows over each sequence. @param x (rows) f32 @returns (count) f32 */
export function sequenceSums(x: Value, count: number): Value {
  return segmentSum(x, input("sequences", "i32", [x.dim(0)]), count);
}

/** Splits a vector in a trace into the halves of chosen and rejected answers. @param x (2 · pairs) */
export function halves(x: Value): { chosen: Value; rejected: Value } {
  const pairs = (x.dim(0) as number) / 2;
  const [chosen, rejected] = split(reshape(x, [1, 2 * pairs]), [pairs, pairs]);
  return { chosen: reshape(chosen!, [pairs]), rejected: reshape(rejected!, [pairs]) };
}
