import type { Device, Tensor } from "../../graph/index.ts";

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
   * Whether gradients are summed while the backward pass of a step's last micro-batch goes on, by its program. `allReduce` and
   * `reduceScatter` are then not called for them. It must be the same on all ranks, and needs `joinDevice`. Default false.
   */
  readonly overlap?: boolean | undefined;
  /** Overwrites the tensors of all ranks with those of `root`. */
  broadcast?: ((tensors: readonly Tensor[], root: number) => Promise<void>) | undefined;
  /** Sums numbers over all ranks, with at least 24 bits of precision. */
  sum(values: readonly number[]): Promise<number[]>;
  /** Returns the bytes of all ranks, in rank order. Default: the bytes are exchanged by `sum`. */
  gatherBytes?: ((bytes: Uint8Array) => Promise<Uint8Array[]>) | undefined;
}

/**
 * Gathers plain data of all ranks, in rank order, on every rank. Without `gatherBytes` it sums byte arrays in which each rank fills its
 * own part and leaves the others zero.
 */
export async function gather<T>(world: World, mine: T): Promise<T[]> {
  if (world.size === 1) return [mine];
  const bytes = new TextEncoder().encode(JSON.stringify(mine));
  if (world.gatherBytes)
    return (await world.gatherBytes(bytes)).map((part) => JSON.parse(new TextDecoder().decode(part)));
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

/** A single process, without communication. */
export const soloWorld: World = {
  rank: 0,
  size: 1,
  allReduce: async () => {},
  sum: async (values) => [...values],
};
