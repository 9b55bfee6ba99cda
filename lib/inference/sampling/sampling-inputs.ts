import type { Mask } from "../../constrain/index.ts";
import { SAMPLE_PARAMS } from "../../graph/index.ts";
import type { Sequence } from "../sequence.ts";

/** A draw of the token after `ids`, with the options of the sequence. */
export interface Draw {
  sequence: Sequence;
  ids: readonly number[];
  /** The allowed tokens. Default: all. */
  mask?: Mask | undefined;
  /**
   * Position of a prompt row that scores the next prompt token. The draw is then forced to that token, regardless of
   * the options.
   */
  scored?: number | undefined;
}

/** A bias that lifts a token's logit above all others, which forces the token. */
const FORCED = 1e30;

/**
 * Adds masks to draws of sequences with a constraint.
 * @throws HeddleError ABORTED, UNSUPPORTED as Constraint.mask does
 */
export async function masked(draws: readonly Draw[], signal: AbortSignal | undefined): Promise<readonly Draw[]> {
  if (!draws.some(({ sequence }) => sequence.constraint)) return draws;
  const out: Draw[] = [];
  for (const draw of draws) {
    const { constraint, ids } = draw.sequence;
    out.push(constraint ? { ...draw, mask: await constraint.mask(draw.ids.slice(ids.length), signal) } : draw);
  }
  return out;
}

/**
 * Returns the sampler's inputs for draws, one row each. A draw depends only on (seed, position), so the same seed gives
 * the same tokens regardless of other sequences.
 * @param historyLimit maximum number of ids that penalties consider
 * @param vocabSize ids at or above it get no bias, for a draft model with a smaller vocabulary
 */
export function samplingInputs(draws: readonly Draw[], historyLimit: number, vocabSize = Number.POSITIVE_INFINITY) {
  const rows = draws.length;
  const histories = draws.map((draw) => penalized(draw, historyLimit));
  const columns = Math.max(1, ...histories.map((h) => h.ids.length));
  const biased = draws.map(biasesOf).map((biases) => within(biases, vocabSize));
  const biases = Math.max(1, ...biased.map(({ ids }) => ids.length));
  const params = new Float32Array(rows * SAMPLE_PARAMS.length);
  const history = new Int32Array(rows * columns);
  const biasIds = new Int32Array(rows * biases).fill(-1);
  const biasValues = new Float32Array(rows * biases);
  const rng = new Int32Array(rows * 3);
  for (const [row, draw] of draws.entries()) {
    const { seed } = draw.sequence;
    params.set(paramsOf(draw, histories[row]!), row * SAMPLE_PARAMS.length);
    history.set(histories[row]!.ids, row * columns);
    biasIds.set(biased[row]!.ids, row * biases);
    biasValues.set(biased[row]!.values, row * biases);
    // The lower and upper 32 bits of the seed, and the position of the drawn token.
    rng.set([seed | 0, Math.floor(seed / 2 ** 32) | 0, draw.ids.length], row * 3);
  }
  return { params, history, biasIds, biasValues, rng };
}

/** Parameters of a greedy draw without penalties. */
const neutralParams = SAMPLE_PARAMS.map((name) => (name === "topP" || name === "repetitionPenalty" ? 1 : 0));

function paramsOf(
  { sequence: { options }, scored }: Draw,
  { ids, promptLength }: ReturnType<typeof penalized>,
): number[] {
  if (scored !== undefined) return neutralParams;
  const values: Record<(typeof SAMPLE_PARAMS)[number], number> = {
    temperature: options.temperature,
    topK: options.topK,
    topP: options.topP,
    minP: options.minP,
    repetitionPenalty: options.repetitionPenalty,
    presencePenalty: options.presencePenalty,
    frequencyPenalty: options.frequencyPenalty,
    promptLength,
    historyLength: ids.length,
  };
  return SAMPLE_PARAMS.map((name) => values[name]);
}

/** Returns the sampler's inputs for rows that only report the model's likeliest tokens. */
export function plainInputs(rows: number) {
  return {
    params: Float32Array.from(Array.from({ length: rows }, () => neutralParams).flat()),
    history: new Int32Array(rows),
    biasIds: new Int32Array(rows).fill(-1),
    biasValues: new Float32Array(rows),
    rng: new Int32Array(rows * 3),
  };
}

/**
 * Returns the sampler's inputs for a series of draws without penalties, where only the position changes between steps.
 * @returns a function that returns the inputs of `count` steps after `pending` queued steps. `rng` holds the data of
 * all `count` steps, end to end.
 */
export function seriesInputs(sequences: readonly Sequence[], historyLimit: number) {
  const draws = sequences.map((sequence) => ({ sequence, ids: sequence.ids }));
  const first = samplingInputs(draws, historyLimit);
  return (pending: number, count: number) => {
    const rng = new Int32Array(count * first.rng.length);
    for (let step = 0, place = 0; step < count; step++) {
      rng.set(first.rng, place);
      for (const { ids } of sequences) {
        rng[place + 2] = ids.length + pending + step;
        place += 3;
      }
    }
    return { ...first, rng };
  };
}

/** Returns the ids that penalties count, and how many of these belong to the prompt. Empty without penalties. */
function penalized({ sequence: { options, promptLength }, ids, scored }: Draw, limit: number) {
  if (scored !== undefined) return { ids: [], promptLength: 0 };
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  if (repetitionPenalty !== 1) {
    const start = Math.max(0, ids.length - limit);
    return { ids: ids.slice(start), promptLength: Math.max(0, promptLength - start) };
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0)
    return { ids: ids.slice(Math.max(promptLength, ids.length - limit)), promptLength: 0 };
  return { ids: [], promptLength: 0 };
}

interface Biases {
  ids: Int32Array;
  values: Float32Array;
}

function within(biases: Biases, vocabSize: number): Biases {
  const { ids, values } = biases;
  if (vocabSize === Number.POSITIVE_INFINITY || ids.every((id) => id < vocabSize)) return biases;
  return { ids: ids.filter((id) => id < vocabSize), values: values.filter((_, i) => ids[i]! < vocabSize) };
}

/** Returns the biases of a draw: the caller's, and −∞ for tokens that its mask forbids. Ids are unique. */
function biasesOf({ sequence: { options, scores }, mask, scored }: Draw): Biases {
  if (scored !== undefined) return { ids: Int32Array.of(scores!.target(scored)), values: Float32Array.of(FORCED) };
  const { biasIds, biasValues, vocabSize } = options;
  if (!mask) return { ids: biasIds, values: biasValues };
  const forbidden = forbiddenIds(mask, vocabSize);
  const isForbidden = biasIds.length > 0 ? new Set(forbidden) : undefined;
  const kept = isForbidden ? Array.from(biasIds.keys()).filter((i) => !isForbidden.has(biasIds[i]!)) : [];
  const ids = new Int32Array(forbidden.length + kept.length);
  const values = new Float32Array(ids.length).fill(Number.NEGATIVE_INFINITY);
  ids.set(forbidden);
  for (const [place, i] of kept.entries()) {
    ids[forbidden.length + place] = biasIds[i]!;
    values[forbidden.length + place] = biasValues[i]!;
  }
  return { ids, values };
}

/** The ids from 0 up. All calls share the array, which grows with the largest vocabulary. */
let everyId = new Int32Array(0);

function forbiddenIds(mask: Mask, vocabSize: number): Int32Array {
  if ("forbidden" in mask) return mask.forbidden;
  if (everyId.length < vocabSize) everyId = Int32Array.from({ length: vocabSize }, (_, id) => id);
  const out = new Int32Array(vocabSize - mask.allowed.length);
  let [from, place] = [0, 0];
  // Copies the ids from `from` up to the next allowed id.
  const copy = (until: number) => {
    out.set(everyId.subarray(from, until), place);
    place += until - from;
    from = until + 1;
  };
  for (const id of mask.allowed) copy(id);
  copy(vocabSize);
  return out;
}
