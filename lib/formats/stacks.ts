// Stacks of weights: one tensor (parts, …) of a model, whose parts are separate tensors in Hugging Face folders.
import { HeddleError } from "../core/errors.ts";
import { sourcesOf } from "./element-sources.ts";
import { collect, type TensorData } from "./tensor-data.ts";
import type { StoredTensor, TensorInfo, WeightSource } from "./weights.ts";

/** A tensor that is built from other tensors of the file, whose names are `parts`. */
export interface Stack {
  tensor: () => StoredTensor;
  parts: string[];
}

/** Presents weights with these stacks instead of their parts. */
export function withStacks(weights: WeightSource, stacks: ReadonlyMap<string, Stack>): WeightSource {
  if (stacks.size === 0) return weights;
  const used = new Set([...stacks.values()].flatMap(({ parts }) => parts));
  return {
    ...weights,
    names: () => [...weights.names().filter((name) => !used.has(name)), ...stacks.keys()],
    has: (name) => stacks.has(name) || (weights.has(name) && !used.has(name)),
    info: (name) => stacks.get(name)?.tensor() ?? weights.info(name),
    tensor: (name) => stacks.get(name)?.tensor() ?? weights.tensor(name),
  };
}

/**
 * Checks that the parts of a tensor have the same type and shape.
 * @param first a description of the first part, for the error about a part that differs from it
 * @throws HeddleError INVALID_FILE
 */
export function checkSameParts(parts: readonly TensorInfo[], first: string): void {
  const form = ({ dtype, storedDtype, shape }: TensorInfo) => `${dtype ?? storedDtype} [${shape.join(", ")}]`;
  const expected = form(parts[0]!);
  const other = parts.find((part) => form(part) !== expected);
  if (other)
    throw new HeddleError("INVALID_FILE", `${other.name}: expected ${expected}, like ${first}, got ${form(other)}`);
}

/**
 * Returns a stack of tensors with the same type and shape.
 * @param first a description of the first part, for the error about a part that differs from it
 * @throws HeddleError INVALID_FILE
 */
export function stackOf(weights: WeightSource, name: string, parts: readonly string[], first: string): StoredTensor {
  const tensors = parts.map((part) => weights.tensor(part));
  checkSameParts(tensors, first);
  const { fp8: _, ...one } = tensors[0]!;
  return {
    ...one,
    name,
    shape: [parts.length, ...one.shape],
    bytes: one.bytes * parts.length,
    sources: () => parts.flatMap((part) => sourcesOf(weights.tensor(part))),
  };
}

/** Splits a stack into its parts. The stack is read when the first part is written, and freed after the last, so parts must be in order. */
export function splitStack(tensor: TensorData, nameOf: (part: number) => string): TensorData[] {
  const [count, ...shape] = tensor.shape as number[];
  let whole: Promise<Uint8Array> | undefined;
  return Array.from({ length: count! }, (_, part) => ({
    name: nameOf(part),
    dtype: tensor.dtype,
    shape,
    bytes: async () => {
      whole ??= collect(tensor);
      const bytes = await whole;
      if (part === count! - 1) whole = undefined;
      const size = bytes.length / count!;
      return bytes.subarray(part * size, (part + 1) * size);
    },
  }));
}
