import type { Inputs } from "../graph/index.ts";

/** A stretch of one sequence that a run processes: its new ids, after what the slot already holds. */
export interface Segment {
  slot: number;
  ids: ArrayLike<number>;
  /**
   * Of the sequence without drafts, where these ids are not its end or hold drafts; what is held with these otherwise. Rows
   * whose rotation depends on the length turn by it, and drafts as they would one by one.
   */
  length?: number;
}

/**
 * The inputs that say which rows there are: the ids, and `each` of one run or of several that follow each other, end to end,
 * where every run goes on where the one before ended.
 * @param pastOf tokens that a slot holds before the first run
 * @param options.turns whether the rows' rotation depends on the length of their sequence
 */
export function rowData(
  segments: readonly Segment[],
  pastOf: (slot: number) => number,
  { turns, runs }: { turns: boolean; runs: number },
): { ids: Int32Array; each: Inputs } {
  const count = segments.reduce((n, s) => n + s.ids.length, 0);
  const ids = new Int32Array(count);
  const positions = new Int32Array(runs * count);
  const lengths = turns ? new Int32Array(runs * count) : undefined;
  const table = new Int32Array(runs * segments.length * 4);
  let first = 0;
  for (const [g, segment] of segments.entries()) {
    const start = pastOf(segment.slot);
    const added = segment.ids.length;
    ids.set(segment.ids, first);
    for (let run = 0, past = start; run < runs; run++, past += added) {
      const place = (run * segments.length + g) * 4;
      table[place] = first;
      table[place + 1] = added;
      table[place + 2] = segment.slot;
      table[place + 3] = past;
      const whole = (segment.length ?? start + added) + (past - start);
      for (let i = 0, row = run * count + first; i < added; i++, row++) {
        positions[row] = past + i;
        if (lengths) lengths[row] = Math.max(whole, past + i + 1);
      }
    }
    first += added;
  }
  return { ids, each: { positions, segments: table, ...(lengths && { lengths }) } };
}
