// GGUF files as other programs write them: heddle's files with other keys and tensors.
import { join } from "node:path";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../lib/formats/gguf/gguf-write.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { temporaryFolder } from "../formats/helpers.ts";

export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const f32 = (value: number): GgufValue => ({ type: "f32", value });
export const text = (value: string): GgufValue => ({ type: "string", value });
export const flag = (value: boolean): GgufValue => ({ type: "bool", value });
export const flags = (...value: boolean[]): GgufValue => ({ type: "array", of: "bool", value });
export const i32s = (...value: number[]): GgufValue => ({ type: "array", of: "i32", value: Int32Array.from(value) });

/** Returns the tensors of a GGUF file with their data. */
export async function tensorsOf(path: string): Promise<TensorData[]> {
  const { file, entries } = await openGguf(path);
  const tensors = [...entries.values()].map(({ name, dtype, shape, offset, bytes }) => ({
    name,
    dtype: dtype!,
    shape,
    bytes: new Uint8Array(file.bytes(offset, bytes)),
  }));
  file.close();
  return tensors;
}

/** Writes the file with some metadata changed or (undefined) removed, and tensors added. @returns the new file's path */
export async function withMetadata(
  path: string,
  changes: Record<string, GgufValue | undefined>,
  added: readonly TensorData[] = [],
): Promise<string> {
  const { file, metadata } = await openGguf(path);
  file.close();
  const values = new Map(metadata.values);
  for (const [key, value] of Object.entries(changes)) value ? values.set(key, value) : values.delete(key);
  const target = join(temporaryFolder(), "changed.gguf");
  await writeGguf(target, { metadata: values, tensors: [...(await tensorsOf(path)), ...added] });
  return target;
}

/** Writes the file with tensors replaced by others of their names. @returns the new file's path */
export async function withTensors(path: string, replacements: readonly TensorData[]): Promise<string> {
  const { file, metadata } = await openGguf(path);
  file.close();
  const byName = new Map(replacements.map((tensor) => [tensor.name, tensor]));
  const target = join(temporaryFolder(), "changed.gguf");
  const tensors = (await tensorsOf(path)).map((tensor) => byName.get(tensor.name) ?? tensor);
  await writeGguf(target, { metadata: metadata.values, tensors });
  return target;
}

/** Like `withMetadata`, but also removes heddle's keys. */
export async function withoutHeddleKeys(
  path: string,
  changes: Record<string, GgufValue | undefined> = {},
  added: readonly TensorData[] = [],
): Promise<string> {
  const own = ["heddle.config", "heddle.model_type", "heddle.rope_scaling", "heddle.pooling_by_default"];
  return withMetadata(path, { ...Object.fromEntries(own.map((key) => [key, undefined])), ...changes }, added);
}

/** Builds `rope_freqs.weight` from these divisors. */
export function ropeFreqs(factors: readonly number[]): TensorData {
  const bytes = new Uint8Array(Float32Array.from(factors).buffer);
  return { name: "rope_freqs.weight", dtype: "f32", shape: [factors.length], bytes };
}

/** Keys of a part that describe its place in the whole model, as llama.cpp's gguf-split writes them. */
export const partKeys = (index: number, count: number, tensors: number): [string, GgufValue][] => [
  ["split.no", { type: "u16", value: index }],
  ["split.count", { type: "u16", value: count }],
  ["split.tensors.count", { type: "i32", value: tensors }],
];

/** Splits the file into `count` parts named `model-…` in a new folder. The first has the metadata. @returns their paths */
export async function splitGguf(path: string, count: number): Promise<string[]> {
  const tensors = await tensorsOf(path);
  const { file, metadata } = await openGguf(path);
  file.close();
  const folder = temporaryFolder();
  const each = Math.ceil(tensors.length / count);
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const target = join(folder, partFile(i + 1, count));
    const own = partKeys(i, count, tensors.length);
    const keys = new Map(i === 0 ? [...metadata.values, ...own] : own);
    await writeGguf(target, { metadata: keys, tensors: tensors.slice(i * each, (i + 1) * each) });
    paths.push(target);
  }
  return paths;
}

export function partFile(number: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `model-${digits(number)}-of-${digits(count)}.gguf`;
}
