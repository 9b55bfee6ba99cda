import { HeddleError } from "../core/errors.ts";
import { eachUrgently } from "../core/slices.ts";
import { abortFlag } from "../graph/compile.ts";
import { turnsByLength } from "../models/rope-frequencies.ts";
import { runShape } from "./async-prefill.ts";
import type { KvCache } from "./cache/kv-cache.ts";
import { sampleProgram } from "./programs.ts";
import type { Progress } from "./progress.ts";
import { choiceOf, type SampleResults } from "./sampling/sample-results.ts";
import { seriesInputs } from "./sampling/sampling-inputs.ts";
import type { Piece, Sequence } from "./sequence.ts";

/** The inputs that a queued run takes from the outputs of the run before it. */
const LATE_IDS = ["ids"];
/** Target duration of a series: several short steps that run without a return to JavaScript. */
const SERIES_MS = 8;
/** Maximum number of steps in a series. */
const MAX_STEPS = 16;
/**
 * Number of drawn tokens after which series become one step longer. Short answers get short series, because the steps
 * after a sequence's end are wasted.
 */
const TOKENS_A_STEP = 8;

/** A decoding sequence and its slot in the cache. */
export interface Decoding {
  sequence: Sequence;
  slot: number;
}

/** Whether the inputs of the next two runs are known, except for the ids that the first of them draws. */
export function canRunAhead(cache: KvCache, all: readonly Decoding[]): boolean {
  return (
    !turnsByLength(cache.model.config) &&
    all.every(({ sequence, slot }) => {
      const { repetitionPenalty, presencePenalty, frequencyPenalty } = sequence.options;
      const plain = repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0;
      const decodes = sequence.context.length - cache.ids(slot).length === 1 && sequence.limit > 0;
      // With a constraint, the next mask depends on the drawn token.
      return plain && !sequence.constraint && decodes;
    }) &&
    roomAfter(cache, all, 1) > 0
  );
}

/**
 * Returns how many steps can follow `pending` queued steps. The limits are each sequence's room, the cache's memory,
 * and the next step in which a logit processor acts.
 */
function roomAfter(cache: KvCache, all: readonly Decoding[], pending: number): number {
  const { capacity } = cache;
  const rooms = all.map(
    ({ sequence: { room, context, idleSteps } }) => Math.min(room, capacity - context.length + 1, idleSteps) - pending,
  );
  return Math.min(cache.pagesAhead, ...rooms);
}

/**
 * A queued series of steps. The results are complete when `done` resolves. In each array of `results`, such as `token`, the entry of a step's row
 * is at index step · rows + row.
 */
interface Steps {
  count: number;
  results: SampleResults;
  done: Promise<void>;
}

/**
 * Decodes with one run always queued after the running one. The queued run takes its ids from the running run's
 * outputs, so the device never waits for JavaScript. If steps are short, a run is a series of steps. Decoding ends when
 * a sequence has ended or has no room, and before a step in which a logit processor may act. Tokens after a sequence's
 * end are dropped. If a series fails with NUMERICAL, decoding ends without its pieces. The caller may then retry its
 * steps one by one.
 * @param options.enough returns true to stop queuing runs; queued runs still finish
 * @returns the pieces of each run, in order of its steps
 */
export async function* decodeAhead(
  cache: KvCache,
  all: readonly Decoding[],
  options: {
    deterministic: boolean;
    signal: AbortSignal | undefined;
    progress: Progress;
    enough: () => boolean;
  },
): AsyncGenerator<Piece[], void, undefined> {
  const { signal, progress } = options;
  const rows = all.length;
  const top = Math.max(0, ...all.map(({ sequence }) => sequence.options.topLogprobs));
  const shape = runShape(cache, { top, deterministic: options.deterministic });
  const logitRows = Int32Array.from(all, (_, i) => i);
  const inputsAfter = seriesInputs(
    all.map(({ sequence }) => sequence),
    cache.capacity,
  );
  // Aborts the queued runs when the caller stops reading.
  const unwanted = abortFlag();
  const start = (ids: Int32Array, pending: number, count: number): Steps => {
    const segments = all.map(({ slot }, i) => ({ slot, ids: ids.subarray(i, i + 1) }));
    const { outputs, done } = cache.start(sampleProgram, segments, {
      shape,
      inputs: { ...inputsAfter(pending, count), logitRows, ids },
      ...{ signal, flag: unwanted },
      late: pending > 0 ? LATE_IDS : [],
      series: count > 1 ? { runs: count, each: ["rng"] } : undefined,
    });
    done.catch(() => {}); // the error is reported when the run is awaited
    return { count, results: outputs as unknown as SampleResults, done };
  };
  let before = performance.now();
  let current = start(
    Int32Array.from(all, ({ sequence }) => sequence.context.at(-1)!),
    0,
    1,
  );
  let next: Steps | undefined;
  let [steps, drawn] = [1, 0];
  try {
    do {
      const ended = options.enough() || all.some(({ sequence }) => sequence.finishReason);
      const count = ended ? 0 : Math.min(steps, roomAfter(cache, all, current.count));
      const last = (current.count - 1) * rows;
      next = count > 0 ? start(current.results.token.subarray(last, last + rows), current.count, count) : undefined;
      if (!(await hasSucceeded(current))) {
        await next?.done.catch(() => {});
        for (const { sequence, slot } of all) cache.truncate(slot, sequence.context.length - 1);
        return;
      }
      const pieces = await accepted(all, current, top);
      const now = performance.now();
      progress.decodedTokens += pieces.length;
      progress.decodeMs += now - before;
      drawn += current.count;
      const quick = Math.floor((SERIES_MS * current.count) / (now - before));
      steps = Math.max(1, Math.min(MAX_STEPS, 1 + Math.floor(drawn / TOKENS_A_STEP), quick));
      before = now;
      yield pieces;
      // Stop if all sequences have ended. Otherwise the next run still decodes the others.
      if (next && all.every(({ sequence }) => sequence.finishReason)) return;
      if (next) current = next;
    } while (next);
  } finally {
    unwanted.abort();
    // The content of slots must be final when the caller continues.
    for (const run of [current, next]) await run?.done.catch(() => {});
  }
}

/**
 * Whether a run has succeeded. Returns false if a series of several steps has failed with NUMERICAL.
 * @throws any other error of the run
 */
async function hasSucceeded({ count, done }: Steps): Promise<boolean> {
  try {
    await done;
    return true;
  } catch (error) {
    if (count > 1 && error instanceof HeddleError && error.code === "NUMERICAL") return false;
    throw error;
  }
}

async function accepted(all: readonly Decoding[], { count, results }: Steps, top: number): Promise<Piece[]> {
  const pieces: Piece[] = [];
  await eachUrgently(Array(count * all.length).keys(), (place) => {
    const { sequence } = all[place % all.length]!;
    if (!sequence.finishReason)
      pieces.push(sequence.accept(choiceOf(results, place, top, sequence.options.topLogprobs)));
  });
  return pieces;
}
