// Splits ids that are not in the cache yet into runs of bounded size.
import { PREFILL_ROWS } from "./cache/kv-cache.ts";
import type { Segment } from "./row-data.ts";

/** The shape of a program that runs at most PREFILL_ROWS ids and computes no logits. */
export const PREFILL_SHAPE = { rows: PREFILL_ROWS, logitRows: 1, top: 0 } as const;

/** An item to process: new ids of one sequence. */
type Item = Segment & { ids: readonly number[] };

/** The part of an item that one run processes. `from` is the index of its first id in the item's ids. */
type PartOf<T extends Item> = T & { from: number };

/**
 * Splits the ids of items into runs. A run takes the items in order, and has at most one part of each.
 * @param options.rows maximum number of rows of a run
 * @param options.chunk takes ids in chunks of this size, which are never cut at the end of a run. Then the parts of an item do not depend
 * on the other items.
 */
export function* prefillRuns<T extends Item>(
  items: readonly T[],
  { rows = PREFILL_ROWS, chunk }: { rows?: number; chunk?: number | undefined } = {},
): Generator<PartOf<T>[], void, undefined> {
  const done = items.map(() => 0);
  for (;;) {
    let room = rows;
    const run: PartOf<T>[] = [];
    for (const [i, item] of items.entries()) {
      const from = done[i]!;
      const size = Math.min(item.ids.length - from, chunk ?? room);
      if (size === 0 || size > room) continue;
      room -= size;
      done[i] = from + size;
      run.push({ ...item, ids: item.ids.slice(from, from + size), from });
    }
    if (run.length === 0) return;
    yield run;
  }
}
