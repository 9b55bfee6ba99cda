// Assigns beams to slots of a KV cache, and moves their content.
import { turnsByLength } from "../../models/rope-frequencies.ts";
import { commonPrefix } from "../../tokenizer/prompt-ids.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import { MIN_SHARED } from "../cache/shared-prefix.ts";
import { PREFILL_SHAPE, prefillRuns } from "../prefill-runs.ts";
import { prefillProgram } from "../programs.ts";
import type { Progress } from "../progress.ts";
import { DETERMINISTIC_ROWS } from "../step.ts";

/**
 * A slot, and the context that the next run continues. The slot must hold all ids but the last, which the next run
 * processes.
 */
interface Place {
  slot: number;
  context: readonly number[];
}

/**
 * Moves beams to their slots for the next step. If several beams continue the same previous beam, the first of them
 * keeps its slot. The others take free slots, and share its pages.
 * @param slots the slot of each previous beam
 * @param parents for each new beam, the index of the beam that it continues
 * @param free the group's free slots. Slots that are taken are removed, and slots of beams that are not continued are
 * added
 * @returns each new beam's slot
 */
export async function moveBeams(
  cache: KvCache,
  slots: readonly number[],
  parents: readonly number[],
  free: number[],
): Promise<number[]> {
  const wanted = new Set(parents);
  for (const [beam, slot] of slots.entries()) {
    if (wanted.has(beam)) continue;
    cache.truncate(slot, 0);
    free.push(slot);
  }
  const kept = new Set<number>();
  const moved: number[] = [];
  for (const parent of parents) {
    const from = slots[parent]!;
    if (!kept.has(parent)) {
      kept.add(parent);
      moved.push(from);
      continue;
    }
    const to = free.pop()!;
    moved.push(to);
    // If a sliding layer no longer has the rows that the copy needs, the slot is cleared and computed again.
    if (!(await cache.copySlot(from, to, cache.ids(from).length))) cache.truncate(to, 0);
  }
  return moved;
}

/**
 * Fills slots with their contexts except for the last id. Common prefixes are computed once.
 * @param ready places that are already filled
 * @returns for each place, the number of ids copied from another
 */
export async function fill(
  cache: KvCache,
  places: readonly Place[],
  {
    ready,
    deterministic,
    signal,
    progress,
  }: { ready: readonly Place[]; deterministic: boolean; signal: AbortSignal | undefined; progress: Progress },
): Promise<number[]> {
  const shared = places.map(() => 0);
  for (const { slot, context } of places) cache.fit(slot, context.length);
  const missing = ({ slot, context }: Place) => context.length - 1 - cache.ids(slot).length;
  if (places.every((place) => missing(place) === 0)) return shared;
  const started = performance.now();
  // Deterministic runs copy only from places that are computed below, in whole chunks. Rows that are already in the cache
  // may have been computed in other chunks, with other bits.
  const chunk = deterministic ? DETERMINISTIC_ROWS : undefined;
  const givers: Place[] = deterministic ? [] : [...ready, ...places.filter((place) => missing(place) === 0)];
  const first = new Set<Place>();
  const takes = new Map<Place, { from: number; length: number }>();
  for (const place of places) {
    if (missing(place) === 0) continue;
    const best = bestGiver(cache, [...givers, ...first], place, chunk ?? 1);
    if (best && best.length >= cache.ids(place.slot).length + MIN_SHARED) takes.set(place, best);
    else first.add(place);
  }
  const shape = { ...PREFILL_SHAPE, rowwise: deterministic };
  const compute = async (some: Iterable<Place>) => {
    const missing = Array.from(some, ({ slot, context }) => {
      return { slot, ids: context.slice(cache.ids(slot).length, -1), length: context.length };
    });
    for (const segments of prefillRuns(missing, { chunk })) {
      await cache.run(prefillProgram, segments, { shape, signal });
      progress.prefilledTokens += segments.reduce((n, { ids }) => n + ids.length, 0);
    }
  };
  await compute(first);
  for (const [i, place] of places.entries()) {
    const take = takes.get(place);
    if (take && (await cache.copySlot(take.from, place.slot, take.length))) shared[i] = take.length;
  }
  await compute(takes.keys());
  progress.prefillMs += performance.now() - started;
  return shared;
}

/**
 * Returns the slot whose context shares the longest prefix with a place's context, in whole chunks, and the length of
 * that prefix.
 */
function bestGiver(cache: KvCache, givers: readonly Place[], { slot, context }: Place, chunk: number) {
  const turns = turnsByLength(cache.model.config); // keys depend on the sequence's length
  let best: { from: number; length: number } | undefined;
  for (const giver of givers) {
    if (giver.slot === slot || (turns && giver.context.length !== context.length)) continue;
    const common = Math.min(commonPrefix(giver.context, context), giver.context.length - 1, context.length - 1);
    const length = Math.floor(common / chunk) * chunk;
    if (length > (best?.length ?? 0)) best = { from: giver.slot, length };
  }
  return best;
}
