import type { Inputs } from "../graph/index.ts";

/** The part of one sequence that a run processes: its new ids, after the slot's content. */
export interface Segment {
  slot: number;
  ids: ArrayLike<number>;
  /**
   * Length of the sequence without drafts. Default: the slot's content plus these ids. Needed if these ids are not the end of the sequence or
   * include drafts, because RoPE may depend on the length.
   */
  length?: number;
}

/**
 * Returns the inputs that describe the rows of a run: the ids of the first run, and in `each` the other inputs of all
 * consecutive runs, end to end.
 * @param pastOf returns the number of tokens in a slot before the first run
 * @param options.turns whether RoPE depends on the length of the sequence
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
  // One entry per segment: its first row, its number of rows, its slot, and the number of tokens before it.
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
