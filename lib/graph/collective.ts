// Operations over the CUDA devices of several ranks, by NCCL. `lib/train/world/nccl-world.ts` uses them for distributed training.
import { binding } from "../binding/index.ts";
import { invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import { checkDevice, type Device } from "./device.ts";
import { checkTensor, type Tensor } from "./tensor.ts";

/**
 * Creates the id that one rank shares with all others for `joinCollective`.
 * @throws HeddleError UNSUPPORTED without NCCL, or in a build without CUDA
 * @experimental
 */
export function newCollectiveId(): Uint8Array {
  return new Uint8Array(binding.collectiveId());
}

/**
 * Joins a group of `size` ranks. The promise resolves when all ranks have joined. Until then the device runs nothing
 * else.
 * @throws HeddleError INVALID_ARGUMENT, UNSUPPORTED on the CPU and without NCCL
 * @experimental
 */
export async function joinCollective(device: Device, id: Uint8Array, rank: number, size: number): Promise<void> {
  checkDevice(device);
  if (!(id instanceof Uint8Array))
    throw invalidArgument("id", "the id that newCollectiveId() returned on the first rank", id);
  for (const [name, value, least] of [
    ["size", size, 1],
    ["rank", rank, 0],
  ] as const)
    checkWhole(name, value, least);
  await device.lane.join(id, rank, size);
}

/**
 * Sums f32 tensors of a device over all ranks, in place.
 * @throws HeddleError INVALID_ARGUMENT for wrong arguments, and before `joinCollective`
 * @experimental
 */
export async function allReduceTensors(device: Device, tensors: readonly Tensor[]): Promise<void> {
  checkDevice(device);
  if (!Array.isArray(tensors)) throw invalidArgument("tensors", "an array of tensors", tensors);
  for (const tensor of tensors) {
    checkTensor("tensors", tensor);
    if (tensor.dtype !== "f32") throw invalidArgument("tensors", "tensors of f32", tensor.dtype);
  }
  await device.lane.allReduce(tensors.map((t) => t.native));
}

/**
 * Sums tensors over all ranks. Rank r receives the sums of `parts[r]`, in place, and its other tensors stay unchanged. All tensors are f32,
 * or all are bf16.
 * @throws HeddleError INVALID_ARGUMENT for wrong arguments, and before `joinCollective`
 * @experimental
 */
export async function reduceScatterTensors(device: Device, parts: readonly (readonly Tensor[])[]): Promise<void> {
  checkDevice(device);
  checkParts(parts);
  const dtypes = new Set(parts.flat().map((tensor) => tensor.dtype));
  if (dtypes.size > 1 || ![...dtypes].every((dtype) => dtype === "f32" || dtype === "bf16"))
    throw invalidArgument("parts", "tensors of f32, or of bf16", [...dtypes].join(" and "));
  await device.lane.reduceScatter(nativesOf(parts), dtypes.has("bf16") ? 1 : 0);
}

/**
 * Overwrites the tensors of `parts[r]` on all ranks with those of rank r.
 * @throws HeddleError INVALID_ARGUMENT for wrong arguments, and before `joinCollective`
 * @experimental
 */
export async function allGatherTensors(device: Device, parts: readonly (readonly Tensor[])[]): Promise<void> {
  checkDevice(device);
  checkParts(parts);
  await device.lane.allGather(nativesOf(parts));
}

function checkParts(parts: readonly (readonly Tensor[])[]): void {
  if (!Array.isArray(parts) || !parts.every((tensors) => Array.isArray(tensors)))
    throw invalidArgument("parts", "an array of the tensors of each rank", parts);
  for (const tensor of parts.flat()) checkTensor("parts", tensor);
}

function nativesOf(parts: readonly (readonly Tensor[])[]) {
  return parts.map((tensors) => tensors.map((tensor) => tensor.native));
}

/**
 * Returns the sum over all ranks of each number, in double precision.
 * @throws HeddleError INVALID_ARGUMENT for wrong arguments, and before `joinCollective`
 * @experimental
 */
export async function allReduceNumbers(device: Device, values: readonly number[]): Promise<number[]> {
  checkDevice(device);
  if (!Array.isArray(values) || values.some((value) => typeof value !== "number"))
    throw invalidArgument("values", "an array of numbers", values);
  const sums = Float64Array.from(values);
  await device.lane.allReduce(sums);
  return [...sums];
}
