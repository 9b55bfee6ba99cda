import type { Device, Tensor } from "../../graph/index.ts";
import { gatherBySums } from "./gather-bytes.ts";

/**
 * The processes that train one model together. All open the same data with the same options. Micro-batches are
 * distributed to the ranks in turn, `size` at a time. The trainer sums gradients, counts and losses over all ranks
 * before the update, so that every rank makes the same step. Only rank 0 writes checkpoints and the model. A resumed
 * run reads them on every rank.
 * @experimental
 */
export interface World {
  /** Rank of this process, from 0. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Sums f32 tensors over all ranks, in place. Every rank calls it with the same shapes in the same order. */
  allReduce(tensors: readonly Tensor[]): Promise<void>;
  /**
   * Sums the tensors of `parts[r]` (all f32 or all bf16) over all ranks. Only rank r gets these sums, in place. The
   * other tensors may change. Every rank calls it with the same shapes in the same order. Sharding needs it.
   */
  reduceScatter?: ((parts: readonly (readonly Tensor[])[]) => Promise<void>) | undefined;
  /** Overwrites the tensors of `parts[r]` on all ranks with those of rank r. Sharding needs it. */
  allGather?: ((parts: readonly (readonly Tensor[])[]) => Promise<void>) | undefined;
  /**
   * Lets programs of `device` exchange data with all ranks while they run. `overlap` and the values `"gradients"` and `"parameters"` of
   * `sharding` need it.
   * @throws HeddleError INVALID_ARGUMENT for a device that the world does not connect
   */
  joinDevice?: ((device: Device) => Promise<void>) | undefined;
  /**
   * Whether the program of a step's last micro-batch sums the gradients during its backward pass. `allReduce` and `reduceScatter` are then
   * not called for gradients. It must be the same on all ranks, and needs `joinDevice`. Default false.
   */
  readonly overlap?: boolean | undefined;
  /** Overwrites the tensors of all ranks with those of `root`. */
  broadcast?: ((tensors: readonly Tensor[], root: number) => Promise<void>) | undefined;
  /** Sums numbers over all ranks, with at least 24 bits of precision. */
  sum(values: readonly number[]): Promise<number[]>;
  /** Resolves when all ranks have called it. */
  barrier(): Promise<void>;
  /** Returns the bytes of all ranks, in rank order. Default: the bytes are exchanged by `sum`. */
  gatherBytes?: ((bytes: Uint8Array) => Promise<Uint8Array[]>) | undefined;
}

/** Gathers plain data of all ranks, in rank order, on every rank. */
export async function gather<T>(world: World, mine: T): Promise<T[]> {
  if (world.size === 1) return [mine];
  const bytes = new TextEncoder().encode(JSON.stringify(mine));
  const all = world.gatherBytes ? await world.gatherBytes(bytes) : await gatherBySums(world, bytes);
  return all.map((part) => JSON.parse(new TextDecoder().decode(part)));
}

/** A single process, without communication. */
export const soloWorld: World = {
  rank: 0,
  size: 1,
  allReduce: async () => {},
  sum: async (values) => [...values],
  barrier: async () => {},
};
