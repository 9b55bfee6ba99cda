import { type AnswerFormat, compiledAhead } from "../constrain/index.ts";
import { BEAM_PAGE_SIZE, runBeams } from "../inference/beam/beam-engine.ts";
import type { SpareStore } from "../inference/cache/cache-store.ts";
import { KvCache } from "../inference/cache/kv-cache.ts";
import { MAX_SLOTS } from "../inference/cache/slots.ts";
import type { GenerateOptions, ResolvedOptions } from "../inference/generation-options.ts";
import type { Progress } from "../inference/progress.ts";
import { eachPiece, runSequences } from "../inference/scheduler.ts";
import { type Piece, type Sequence, sequencesOf } from "../inference/sequence.ts";
import type { HeldModel, ModelView } from "../models/model-view.ts";
import { Answers, type Completion, parsedAll } from "./completion.ts";
import type { LanguageModel } from "./language-model.ts";
import { continuedIds, type Prompt } from "./prompt.ts";

/** A generation request: the prompts of one call, which share a cache. */
interface Call {
  /** Collects the pieces of the answers. */
  answers: Answers;
  /** The pieces of each run. Reading them drives the generation. */
  runs: AsyncIterable<readonly Piece[]>;
  signal: AbortSignal | undefined;
  /** The format that parses the answers, as `compiledAhead` returned it. */
  responseFormat: AnswerFormat | undefined;
}

/**
 * Starts a request. Response formats are compiled first, and long prompts are tokenized off-thread. The model may change meanwhile, so such
 * a request uses a snapshot of the model from the time of the call.
 * @param view the state of the model that the request uses. Default: the present one
 * @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export function startRequest(
  model: LanguageModel,
  prompts: readonly Prompt[],
  options: GenerateOptions,
  view: ModelView = model.model,
): Call | Promise<Call> {
  const start = (ready: GenerateOptions, held?: HeldModel): Call | Promise<Call> => {
    const resolved = model.resolve(ready);
    const { contextLength, tokenizer, spare } = model;
    const make = (ids: number[][], held?: HeldModel) => {
      const sequences = sequencesOf(ids, resolved, { contextLength, tokenizer, ownsPrompts: true });
      return newCall(model, sequences, { options: resolved, spare, view, held, responseFormat: ready.responseFormat });
    };
    const ids = continuedIds(model, prompts, { ...resolved, contextLength });
    if (!(ids instanceof Promise)) return make(ids, held);
    return held ? ids.then((ids) => make(ids, held)) : withHeld(view, async (held) => make(await ids, held));
  };
  if (!options?.responseFormat) return start(options);
  return withHeld(view, async (held) => start(await compiledAhead(options), held));
}

/** Makes a request with a snapshot of the model, which the request's run releases. */
async function withHeld(view: ModelView, make: (held: HeldModel) => Promise<Call>): Promise<Call> {
  const held = view.hold();
  try {
    return await make(held);
  } catch (error) {
    held.release();
    throw error;
  }
}

interface CallParts {
  options: ResolvedOptions;
  spare?: SpareStore;
  view?: ModelView;
  /** A snapshot for the request, which is released once the cache holds the state. Default: the state of `view` when the request is first read */
  held?: HeldModel | undefined;
  responseFormat?: AnswerFormat | undefined;
}

/** Makes a request from sequences. */
export function newCall(model: LanguageModel, sequences: readonly Sequence[], given: CallParts): Call {
  const answers = new Answers(sequences);
  const { options, responseFormat } = given;
  return { answers, runs: run(model, sequences, answers.progress, given), signal: options.signal, responseFormat };
}

/** Starts a request and streams its pieces. Returns its answers, parsed by the schema of the options. @param view as for `startRequest` */
export async function* generated(
  model: LanguageModel,
  prompts: readonly Prompt[],
  options: GenerateOptions,
  view?: ModelView,
): AsyncGenerator<Piece, Completion[], undefined> {
  const started = startRequest(model, prompts, options, view);
  const call = started instanceof Promise ? await started : started;
  const { answers, runs, signal } = call;
  for await (const piece of eachPiece(runs, signal)) {
    answers.add(piece);
    yield piece;
  }
  return parsedAll(answers.finish(model.loadMs), call);
}

/** Reads a request to its end and returns its answers, parsed by the schema of its options. */
export async function answersOf(call: Call, loadMs: number): Promise<Completion[]> {
  const { answers, runs } = call;
  for await (const pieces of runs) for (const piece of pieces) answers.add(piece);
  return parsedAll(answers.finish(loadMs), call);
}

async function* run(
  { model, contextLength, cacheDtype: dtype, cachePageSize }: LanguageModel,
  sequences: readonly Sequence[],
  progress: Progress,
  { options, spare: store, view = model, held }: CallParts,
): AsyncGenerator<readonly Piece[], void, undefined> {
  if (sequences.length === 0) return held?.release();
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
    cache = new KvCache(held ?? view, { slots, contextLength, dtype, adapters, pageSize, spare });
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
