// Writing safetensors files and the sharded folders that transformers reads.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument } from "../../core/errors.ts";
import { isQuantized } from "../../graph/dtype.ts";
import { type FileSink, ioError } from "../../io/atomic-files.ts";
import type { StagedFiles } from "../../io/staged-files.ts";
import { ProgressCounter, type TensorData, tensorBytes, type WriteOptions, writeTensor } from "../tensor-data.ts";
import { pieceOf, type WeightDType } from "../weight-dtype.ts";
import { MAX_SAFETENSORS_HEADER_BYTES } from "./safetensors-head.ts";

function storedName(name: string, dtype: WeightDType): string {
  if (isQuantized(dtype)) throw invalidArgument(`tensor ${name}: dtype`, "f32, f16, bf16 or an integer type", dtype);
  return dtype.toUpperCase();
}

interface SafetensorsOptions extends WriteOptions {
  /** The header's `__metadata__`. transformers requires `format`. Default { format: "pt" }. */
  metadata?: Record<string, string>;
}

/**
 * Stages one safetensors file, which appears complete and together with the other staged files. Wide types come first, so
 * that every tensor is aligned to its element size. `late` tensors come last, if alignment allows. Returns the file's size
 * in bytes.
 */
export async function stageSafetensors(
  files: StagedFiles,
  path: string,
  tensors: Iterable<TensorData>,
  options: SafetensorsOptions = {},
): Promise<number> {
  const list = [...tensors];
  const progress = new ProgressCounter(list, options);
  let size = 0;
  await files.write(path, async (sink) => {
    await writeSafetensorsTo(sink, list, options, progress);
    size = sink.position;
  });
  return size;
}

/** Writes safetensors content to an open file. The caller closes it. */
export async function writeSafetensorsTo(
  sink: FileSink,
  tensors: readonly TensorData[],
  options: SafetensorsOptions = {},
  progress = new ProgressCounter(tensors, options),
): Promise<void> {
  const sorted = inOrder(tensors);
  const header = buildHeader(sorted, options.metadata ?? { format: "pt" });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await sink.write(length);
  await sink.write(header);
  for (const tensor of sorted) {
    await writeTensor(sink, tensor, options.signal);
    progress.done(tensor);
  }
}

/** Sorts tensors by element size, widest first, with `late` ones at the end if they stay aligned. */
function inOrder(tensors: readonly TensorData[]): TensorData[] {
  const wideFirst = (list: readonly TensorData[]) =>
    list.toSorted((a, b) => pieceOf(b.dtype).bytes - pieceOf(a.dtype).bytes);
  const early = tensors.filter(({ late }) => !late);
  const late = wideFirst(tensors.filter(({ late }) => late));
  const begin = early.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const aligned = late.length === 0 || begin % pieceOf(late[0]!.dtype).bytes === 0;
  return aligned ? [...wideFirst(early), ...late] : wideFirst(tensors);
}

function buildHeader(tensors: readonly TensorData[], metadata: Record<string, string>): Buffer {
  const parts = [`"__metadata__":${JSON.stringify(metadata)}`];
  const names = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    if (names.has(tensor.name)) throw invalidArgument("tensor name", "each name once", tensor.name);
    names.add(tensor.name);
    const end = offset + tensorBytes(tensor);
    const dtype = tensor.stored ?? storedName(tensor.name, tensor.dtype);
    const entry = { dtype, shape: tensor.shape, data_offsets: [offset, end] };
    parts.push(`${JSON.stringify(tensor.name)}:${JSON.stringify(entry)}`);
    offset = end;
  }
  const text = Buffer.from(`{${parts.join(",")}}`);
  if (text.length > MAX_SAFETENSORS_HEADER_BYTES - 8) {
    throw invalidArgument("tensors", `a header of at most ${MAX_SAFETENSORS_HEADER_BYTES} bytes`, text.length);
  }
  // Pad with spaces to a multiple of 8, which keeps the data aligned.
  return Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, 0x20)]);
}

/** Options of `stageWeights`. */
export interface SaveOptions extends SafetensorsOptions {
  /** Maximum size of a weight file in bytes. Larger models are split. Default 5 GB, as in transformers. */
  maxShardBytes?: number;
}

const INDEX = "model.safetensors.index.json";

/**
 * Stages `model.safetensors`, or shards and `model.safetensors.index.json` if the tensors exceed maxShardBytes, in an
 * existing folder. The weights of an earlier save there are removed. All files appear together. The earlier save stays
 * until the last shard is on the disk, so both need disk space. Returns the names of the files and their total size.
 */
export async function stageWeights(
  files: StagedFiles,
  folder: string,
  tensors: Iterable<TensorData>,
  options: SaveOptions = {},
): Promise<{ files: string[]; bytes: number }> {
  const list = [...tensors];
  const shards = splitShards(list, options.maxShardBytes ?? 5e9);
  const progress = new ProgressCounter(list, options);
  const single = shards.length === 1;
  const number = (i: number) => String(i).padStart(5, "0");
  const name = (i: number) =>
    single ? "model.safetensors" : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  const names: string[] = [];
  const weightMap = new Map<string, string>();
  let bytes = 0;
  for (const [i, shard] of shards.entries()) {
    await files.write(join(folder, name(i)), async (sink) => {
      await writeSafetensorsTo(sink, shard, options, progress);
      bytes += sink.position;
    });
    names.push(name(i));
    for (const tensor of shard) weightMap.set(tensor.name, name(i));
  }
  if (!single) {
    const total = list.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    await files.writeJson(join(folder, INDEX), {
      metadata: { total_size: total },
      weight_map: Object.fromEntries(weightMap),
    });
    names.push(INDEX);
  }
  await replaceOld(files, folder, names);
  return { files: names, bytes };
}

/** Splits tensors into shards greedily, in order. A tensor larger than the limit gets a separate file. */
function splitShards(tensors: readonly TensorData[], limit: number): TensorData[][] {
  if (!(limit > 0)) throw invalidArgument("maxShardBytes", "a number above 0", limit);
  const shards: TensorData[][] = [[]];
  let used = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (used > 0 && used + bytes > limit) {
      shards.push([]);
      used = 0;
    }
    shards[shards.length - 1]!.push(tensor);
    used += bytes;
  }
  return shards;
}

/** Matches the names of a whole model's weight files: a single file, or shards and their index. */
export const WEIGHT_FILES = /^model(-[0-9]{5}-of-[0-9]{5})?\.safetensors(\.index\.json)?$/;

/**
 * Stages the removal of an earlier save's weights. Readers would prefer an old single file or index to new shards. If the
 * new weights are sharded, such a file is therefore removed before the new files appear.
 */
async function replaceOld(files: StagedFiles, folder: string, names: readonly string[]): Promise<void> {
  const there = await readdir(folder).catch((error: unknown) => {
    throw ioError(error, folder, "cleaned of an earlier save");
  });
  const sharded = names.includes(INDEX);
  for (const name of there.filter((one) => WEIGHT_FILES.test(one))) {
    const path = join(folder, name);
    if (sharded && (name === INDEX || name === "model.safetensors")) files.removeBefore(path);
    else if (!names.includes(name)) files.removeBehind(path);
  }
}
