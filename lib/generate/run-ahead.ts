import { turnsByLength } from "../models/rope-frequencies.ts";
import { throwIfAborted } from "./abort.ts";
import { choiceOf, type SampleResults } from "./choices.ts";
import { type KvCache, PREFILL_ROWS } from "./kv-cache.ts";
import { sampleProgram } from "./programs.ts";
import { samplingInputs, setPosition } from "./sampling-inputs.ts";
import type { Piece, Sequence } from "./sequence.ts";

const LATE_IDS = ["ids"];

/** A sequence that decodes, and where its keys and values are. */
export interface Decoding {
  sequence: Sequence;
  slot: number;
}

/** Whether the next run and the one after it are known but for the ids that the first draws. */
export function canRunAhead(cache: KvCache, all: readonly Decoding[]): boolean {
  return (
    !turnsByLength(cache.model.config) &&
    all.every(({ sequence, slot }) => {
      const { repetitionPenalty, presencePenalty, frequencyPenalty, logitProcessors } = sequence.options;
      const plain = repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0;
      const decodes = sequence.context.length - cache.ids(slot).length === 1;
      return plain && logitProcessors.length === 0 && decodes && hasRoom(cache, sequence);
    })
  );
}

/** For a token after the one that the next run draws, in the sequence and in the cache's memory. */
function hasRoom(cache: KvCache, sequence: Sequence): boolean {
  return sequence.room >= 2 && sequence.context.length < cache.shape.capacity && cache.hasPagesAhead;
}

/**
 * Decodes with a run always waiting behind the one under way, which takes the ids that this one draws from its outputs: the
 * device never waits for JavaScript. Ends when a sequence has ended or has no room; a token that was drawn after an end is
 * dropped, while the others' are theirs.
 * @param options.account is told of each run's pieces and milliseconds
 */
export async function* decodeAhead(
  cache: KvCache,
  all: readonly Decoding[],
  options: {
    deterministic: boolean;
    signal: AbortSignal | undefined;
    account: (pieces: number, ms: number) => void;
  },
): AsyncGenerator<Piece, void, undefined> {
  const { signal } = options;
  const top = Math.max(0, ...all.map(({ sequence }) => sequence.options.topLogprobs));
  const shape = {
    rows: Math.max(PREFILL_ROWS, cache.slots),
    logitRows: cache.slots,
    top,
    rowwise: options.deterministic,
  };
  const logitRows = Int32Array.from(all, (_, i) => i);
  // Of what is drawn without penalties only the position changes from token to token, and a run copies its inputs.
  const drawing = samplingInputs(
    all.map(({ sequence }) => ({ sequence, ids: sequence.ids })),
    cache.shape.capacity,
  );
  const start = (ids: Int32Array, ahead: number) => {
    for (const [row, { sequence }] of all.entries()) setPosition(drawing, row, sequence.ids.length + ahead);
    const segments = all.map(({ slot }, i) => ({ slot, ids: ids.subarray(i, i + 1) }));
    const { outputs, done } = cache.start(sampleProgram, segments, {
      shape,
      inputs: { ...drawing, logitRows, ids },
      signal,
      late: ahead > 0 ? LATE_IDS : [],
    });
    done.catch(() => {}); // whoever waits for it is told
    return { results: outputs as unknown as SampleResults, done };
  };
  let before = performance.now();
  let current = start(
    Int32Array.from(all, ({ sequence }) => sequence.context.at(-1)!),
    0,
  );
  let next: typeof current | undefined;
  try {
    do {
      const goesOn = all.every(({ sequence }) => !sequence.finishReason && hasRoom(cache, sequence));
      next = goesOn ? start(current.results.token, 1) : undefined;
      await current.done;
      const { results } = current;
      const pieces = all.flatMap(({ sequence }, i) =>
        sequence.finishReason ? [] : [sequence.accept(choiceOf(results, i, top, sequence.options.topLogprobs))],
      );
      const now = performance.now();
      options.account(pieces.length, now - before);
      before = now;
      for (const piece of pieces) {
        yield piece;
        throwIfAborted(signal);
      }
      if (next) current = next;
    } while (next);
  } finally {
    // What the slots hold is settled when the caller goes on.
    await next?.done.catch(() => {});
  }
}
