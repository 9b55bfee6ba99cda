import type { Tensor } from "../graph/index.ts";

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
  /** The sums of some numbers over all ranks. */
  sum(values: readonly number[]): Promise<number[]>;
}

/** One process: nothing to add up. */
export const soloWorld: World = {
  rank: 0,
  size: 1,
  allReduce: async () => {},
  sum: async (values) => [...values],
};
