import type { Tensor } from "../graph/index.ts";

/**
 * The processes that train one model together. Each computes the gradients of its own micro-batches; the trainer adds up
 * gradients, counts and losses over all of them before the update, so that every rank then makes the same step.
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
