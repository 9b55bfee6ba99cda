import type { Segment } from "../row-data.ts";

/** Maximum number of sequences of one cache. Further sequences wait. */
export const MAX_SLOTS = 32;

/** The state of one slot of a cache. */
interface Slot {
  /** The ids whose keys and values the slot holds. */
  ids: number[];
  /** Length of the sequence when its rows were computed. RoPE may depend on it. */
  length: number;
  /**
   * Number of positions written since the slot was empty. In a ring buffer of r rows, only the last r of them still
   * exist.
   */
  written: number;
  /** Number of rows that pending runs will write. */
  pending: number;
}

/** The ids of each of a cache's sequences, and the rows that pending runs will write. */
export class Slots {
  private readonly all: readonly Slot[];

  constructor(count: number) {
    this.all = Array.from({ length: count }, () => ({ ids: [], length: 0, written: 0, pending: 0 }));
  }

  at(slot: number): Slot {
    return this.all[slot]!;
  }

  /** Number of ids in each slot. */
  get lengths(): number[] {
    return this.all.map(({ ids }) => ids.length);
  }

  get isBusy(): boolean {
    return this.all.some(({ pending }) => pending > 0);
  }

  /** Returns the number of tokens in a slot after pending runs have ended. */
  planned(slot: number): number {
    const { ids, pending } = this.at(slot);
    return ids.length + pending;
  }

  /** Drops a slot's content after its first `length` ids. */
  keep(slot: number, length: number): void {
    const one = this.at(slot);
    one.ids.length = length;
    if (length === 0) one.written = 0;
  }

  /** Replaces a slot's content with ids and their state. */
  take(
    slot: number,
    { ids, length, written }: Readonly<Omit<Slot, "pending" | "ids">> & { ids: readonly number[] },
  ): void {
    Object.assign(this.at(slot), { ids: [...ids], length, written });
  }

  /** Registers `runs` pending runs over segments. Each run after the first has one id per segment. */
  begin(segments: readonly Segment[], runs: number): void {
    for (const { slot, ids } of segments) {
      const one = this.at(slot);
      one.pending += ids.length + runs - 1;
      one.written = Math.max(one.written, one.ids.length + one.pending);
    }
  }

  /**
   * Records that runs have written their rows.
   * @param begins number of tokens in each slot before the runs
   * @param tokens ids that the runs drew, run by run
   */
  hold(
    segments: readonly Segment[],
    begins: readonly number[],
    { runs, tokens }: { runs: number; tokens: ArrayLike<number> | undefined },
  ): void {
    for (const [i, { slot, ids }] of segments.entries()) {
      const held = this.at(slot).ids;
      if (held.length !== begins[i]) continue; // an earlier run, which this one continues, has failed
      for (let k = 0; k < ids.length; k++) held.push(ids[k]!);
      for (let run = 1; run < runs; run++) held.push(tokens![(run - 1) * segments.length + i]!);
    }
  }

  /** Records that runs have ended, successfully or not. */
  end(segments: readonly Segment[], runs: number): void {
    for (const { slot, ids } of segments) this.at(slot).pending -= ids.length + runs - 1;
  }
}
