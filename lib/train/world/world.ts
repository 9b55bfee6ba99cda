import type { Tensor } from "../../graph/index.ts";

/**
 * The processes that train one model together. All open the same data with the same options; of every `size` micro-batches each takes
 * the one of its rank. The trainer adds up gradients, counts and losses over all ranks before the update, so that every rank then
 * makes the same step. Rank 0 alone writes checkpoints and the model; a resumed run reads them on every rank.
 */
export interface World {
  /** This process among them, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Adds up f32 tensors over all ranks, in place. Every rank calls it with the same shapes in the same order. */
  allReduce(tensors: readonly Tensor[]): Promise<void>;
  /** The sums of some numbers over all ranks, to 24 bits at least. */
  sum(values: readonly number[]): Promise<number[]>;
}

/** Plain data of every rank, in their order, on every rank: each adds its bytes to the zeros that the others have there. */
export async function gather<T>(world: World, mine: T): Promise<T[]> {
  if (world.size === 1) return [mine];
  const bytes = new TextEncoder().encode(JSON.stringify(mine));
  const places = Array.from({ length: world.size }, (_, rank) => (rank === world.rank ? bytes.length : 0));
  const lengths = await world.sum(places);
  const starts = lengths.map((_, rank) => lengths.slice(0, rank).reduce((n, length) => n + length, 0));
  const slots: number[] = new Array(starts.at(-1)! + lengths.at(-1)!).fill(0);
  for (const [i, byte] of bytes.entries()) slots[starts[world.rank]! + i] = byte;
  const all = Uint8Array.from(await world.sum(slots));
  return lengths.map((length, rank) =>
    JSON.parse(new TextDecoder().decode(all.subarray(starts[rank]!, starts[rank]! + length))),
  );
}

/** One process: nothing to add up. */
export const soloWorld: World = {
  rank: 0,
  size: 1,
  allReduce: async () => {},
  sum: async (values) => [...values],
};
