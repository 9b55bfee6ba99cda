import { BEAM_PAGE_SIZE, runBeams } from "../inference/beam/beam-engine.ts";
import type { SpareStore } from "../inference/cache/cache-store.ts";
import { KvCache } from "../inference/cache/kv-cache.ts";
import { MAX_SLOTS } from "../inference/cache/slots.ts";
import type { GenerateOptions, ResolvedOptions } from "../inference/generation-options.ts";
import type { Progress } from "../inference/progress.ts";
import { eachPiece, runSequences } from "../inference/scheduler.ts";
import { type Piece, type Sequence, sequencesOf } from "../inference/sequence.ts";
import type { HeldModel } from "../models/model-view.ts";
import { Answers, type Completion, parsedAll } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";
import { continuedIds, type Prompt } from "./prompt.ts";

/** A generation request: the prompts of one call, which share a cache. */
export interface Call {
  /** Collects the pieces of the answers. */
  answers: Answers;
  /** The pieces of each run. Reading them drives the generation. */
  runs: AsyncIterable<readonly Piece[]>;
  signal: AbortSignal | undefined;
}

/**
 * Starts a request. Long prompts are tokenized off-thread first.
 * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export function callOf(
  model: LanguageModel,
  prompts: readonly Prompt[],
  { options, spare }: { options: ResolvedOptions; spare: SpareStore },
): Call | Promise<Call> {
  const { contextLength, tokenizer } = model;
  const start = (ids: number[][], held?: HeldModel) => {
    const sequences = sequencesOf(ids, options, { contextLength, tokenizer, ownsPrompts: true });
    return newCall(model, sequences, { options, spare, held });
  };
  const ids = continuedIds(model, prompts, { ...options, contextLength });
  if (!(ids instanceof Promise)) return start(ids);
  // The model may change during tokenization, so hold its current state.
  const held = model.model.hold();
  return ids
    .then((ids) => start(ids, held))
    .catch((error) => {
      held.release();
      throw error;
    });
}

/**
 * Makes a request from sequences.
 * @param given.held the model's state at the time of the call, which is released once the cache holds it
 */
export function newCall(
  model: LanguageModel,
  sequences: readonly Sequence[],
  given: { options: ResolvedOptions; spare?: SpareStore; held?: HeldModel | undefined },
): Call {
  const answers = new Answers(sequences);
  return { answers, runs: run(model, sequences, answers.progress, given), signal: given.options.signal };
}

/** Streams the pieces of a request, and returns its answers, parsed by the schema of `options`. */
export async function* streamOf(
  { answers, runs, signal }: Call,
  loadMs: number,
  options: GenerateOptions,
): AsyncGenerator<Piece, Completion[], undefined> {
  for await (const piece of eachPiece(runs, signal)) {
    answers.add(piece);
    yield piece;
  }
  return parsedAll(answers.finish(loadMs), options);
}

/** Reads a request to its end and returns its answers, parsed by the schema of `options`. */
export async function answersOf(
  { answers, runs }: Call,
  loadMs: number,
  options: GenerateOptions = {},
): Promise<Completion[]> {
  for await (const pieces of runs) for (const piece of pieces) answers.add(piece);
  return parsedAll(answers.finish(loadMs), options);
}

async function* run(
  { model, contextLength, cacheDtype: dtype, cachePageSize }: LanguageModel,
  sequences: readonly Sequence[],
  progress: Progress,
  { options, spare: store, held }: { options: ResolvedOptions; spare?: SpareStore; held?: HeldModel | undefined },
): AsyncGenerator<readonly Piece[], void, undefined> {
  if (sequences.length === 0) return;
  const { adapters, beams, n } = options;
  const wanted = beams ? (sequences.length / n) * beams.numBeams : sequences.length;
  // With beam search, the number of slots is a multiple of numBeams, because a prompt's beams run together.
  const together = beams ? Math.max(1, Math.floor(MAX_SLOTS / beams.numBeams)) * beams.numBeams : MAX_SLOTS;
  const slots = Math.min(wanted, together);
  const pageSize = cachePageSize ?? (beams && BEAM_PAGE_SIZE);
  // Reuse memory only on the CPU. On other devices the split of attention depends on the cache's capacity, so results
  // would depend on earlier calls.
  const spare = model.device.kind === "cpu" ? store : undefined;
  let cache: KvCache;
  try {
    cache = new KvCache(held ?? model, { slots, contextLength, dtype, adapters, pageSize, spare });
  } finally {
    held?.release(); // the cache holds the state itself
  }
  let whole = false;
  try {
    yield* (beams ? runBeams : runSequences)(cache, sequences, progress);
    whole = true;
  } finally {
    cache.dispose(whole);
  }
}
