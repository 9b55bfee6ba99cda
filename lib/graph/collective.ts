// Sums over the CUDA devices of several ranks, by NCCL. `lib/train/nccl-world.ts` makes a world of them.
import { binding } from "../binding/index.ts";
import type { Device } from "./device.ts";
import type { Tensor } from "./tensor.ts";

/**
 * What one rank makes and hands to all others, for `joinCollective`.
 * @throws HeddleError UNSUPPORTED where NCCL is not installed, or the build has no CUDA
 */
export function newCollectiveId(): Uint8Array {
  return new Uint8Array(binding.collectiveId());
}

/** Resolves when all `size` ranks have come, and not before: the device does nothing else until then. */
export function joinCollective(device: Device, id: Uint8Array, rank: number, size: number): Promise<void> {
  return device.lane.join(id, rank, size);
}

/** Adds up f32 tensors of a device over all ranks, in place. */
export async function allReduceTensors(device: Device, tensors: readonly Tensor[]): Promise<void> {
  await device.lane.allReduce(tensors.map((t) => t.native));
}

/** The sums of some numbers over all ranks, in double precision. */
export async function allReduceNumbers(device: Device, values: readonly number[]): Promise<number[]> {
  const sums = Float64Array.from(values);
  await device.lane.allReduce(sums);
  return [...sums];
}
