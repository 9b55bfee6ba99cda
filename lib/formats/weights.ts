// A uniform view of a model's weights in any file format.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { firstOf } from "../core/amounts.ts";
import { HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { nearest } from "../core/nearest-name.ts";
import { BLOCK_TYPES } from "../graph/dtype.ts";
import type { StoredElements } from "../graph/lane-cast.ts";
import { exists, ioError, readJson } from "../io/atomic-files.ts";
import type { MappedFile } from "../io/mapped-file.ts";
import { kindOfWeights } from "./file-kind.ts";
import type { StoredFp8 } from "./fp8.ts";
import type { GgufMetadata } from "./gguf/gguf-metadata.ts";
import { firstPart, openGgufParts } from "./gguf/gguf-parts.ts";
import { openSafetensors } from "./safetensors/safetensors.ts";
import type { WeightDType } from "./weight-dtype.ts";

/** A tensor's header. For types that heddle does not compute with, `dtype` is absent. */
export interface TensorInfo {
  name: string;
  /** The file format's name of the type: "F32", "BF16", "Q4_K". */
  storedDtype: string;
  dtype?: WeightDType;
  /** Row-major: the last dimension is contiguous. */
  shape: number[];
  bytes: number;
}

/** The location of a tensor: `bytes` bytes from `offset` of a mapped file, little endian. */
export interface StoredTensor extends TensorInfo {
  dtype: WeightDType;
  file: MappedFile;
  /**
   * Offset in bytes from the beginning of the file. It is a multiple of the element size only if the file's writer
   * aligned it.
   */
  offset: number;
  /**
   * Set for a tensor whose elements are not one range of the file (a stack of experts, 8-bit floats). The sources hold
   * its elements, in order. `file` and `offset` then point to one part.
   */
  sources?: () => StoredElements[];
  /** Set for a matrix of 8-bit floats, which is stored at `offset` with one byte per number. `dtype` and `bytes` then describe the decoded matrix. */
  fp8?: StoredFp8;
}

/** Weights in one or more mapped files. Opening reads only headers. */
export interface WeightSource {
  format: "safetensors" | "gguf";
  /** Path of the opened file or folder. */
  path: string;
  names(): string[];
  has(name: string): boolean;
  /** Returns a tensor's header. Errors: NOT_FOUND, with the nearest name. */
  info(name: string): TensorInfo;
  /** Returns a tensor's location. Errors: NOT_FOUND, UNSUPPORTED for a type that heddle does not compute with. */
  tensor(name: string): StoredTensor;
  /** The `__metadata__` of safetensors; empty for GGUF. */
  metadata: ReadonlyMap<string, string>;
  /** Metadata of a GGUF file. */
  gguf?: GgufMetadata;
  /** Releases the files. Tensors that were already created keep their memory. */
  close(): void;
}

/** Supported element types by format, for messages. */
const COMPUTED = {
  safetensors: "F32, F16 or BF16",
  gguf: ["F32", "F16", "BF16", ...Object.keys(BLOCK_TYPES).map((name) => name.toUpperCase())].join(", "),
};

type Entry = TensorInfo & { offset: number };
type Located = { entry: Entry; file: MappedFile };

function missing(path: string, name: string, names: Iterable<string>): never {
  const near = nearest(name, names);
  const hint = near === undefined ? "" : ` (nearest: ${JSON.stringify(near)})`;
  throw new HeddleError("NOT_FOUND", `${path}: tensor ${JSON.stringify(name)} is missing${hint}`);
}

/** Returns a WeightSource for a table of located tensors. */
function source(
  base: Pick<WeightSource, "format" | "path" | "metadata" | "gguf">,
  table: ReadonlyMap<string, Located>,
  files: MappedFile[],
): WeightSource {
  function find(name: string): Located {
    return table.get(name) ?? missing(base.path, name, table.keys());
  }
  return {
    ...base,
    names: () => [...table.keys()],
    has: (name) => table.has(name),
    info: (name) => find(name).entry,
    tensor(name) {
      const { entry, file } = find(name);
      const { dtype } = entry;
      if (dtype === undefined) {
        throw new HeddleError(
          "UNSUPPORTED",
          `${base.path}: tensor ${JSON.stringify(name)}: ${entry.storedDtype} is not supported (expected ${COMPUTED[base.format]})`,
        );
      }
      return { ...entry, dtype, file };
    },
    close() {
      for (const file of files) file.close();
    },
  };
}

/**
 * Opens weights: a `.gguf` file (or any part of a split one), a `.safetensors` file, or a folder with
 * `model.safetensors`, `model.safetensors.index.json` or one GGUF model. The content of a file decides its format, not
 * the extension. Errors: NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED.
 */
export async function openWeights(path: string): Promise<WeightSource> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path, "opened");
  }
  if (isFolder) return openFolder(path);
  return (await kindOfWeights(path)) === "gguf" ? openGgufWeights(path) : openSafetensorsWeights(path, path);
}

async function openGgufWeights(path: string): Promise<WeightSource> {
  const { parts, metadata } = await openGgufParts(path);
  const table = new Map<string, Located>();
  for (const { entries, file } of parts) for (const [name, entry] of entries) table.set(name, { entry, file });
  const files = parts.map(({ file }) => file);
  return source({ format: "gguf", path, metadata: new Map(), gguf: metadata }, table, files);
}

function openSafetensorsWeights(file: string, path: string): WeightSource {
  const opened = openSafetensors(file);
  const table = new Map([...opened.entries].map(([name, entry]) => [name, { entry, file: opened.file }]));
  return source({ format: "safetensors", path, metadata: opened.metadata }, table, [opened.file]);
}

const MAX_INDEX_BYTES = 100_000_000;
const MAX_SHARDS = 4096;

async function openFolder(folder: string): Promise<WeightSource> {
  const single = join(folder, "model.safetensors");
  if (await exists(single)) return openSafetensorsWeights(single, folder);
  const index = join(folder, "model.safetensors.index.json");
  if (await exists(index)) return openShards(folder, index);

  const names = await readdir(folder).catch((error: unknown) => {
    throw ioError(error, folder, "listed");
  });
  const others = names.filter((name) => name.endsWith(".safetensors") || name.endsWith(".gguf"));
  const one = others.length === 1 ? others[0] : firstPart(others);
  if (one !== undefined) return openWeights(join(folder, one));
  if (names.some((name) => name.startsWith("pytorch_model") && name.endsWith(".bin"))) {
    throw new HeddleError("UNSUPPORTED", `${folder}: expected safetensors or GGUF weights, got pytorch_model.bin`);
  }
  const got = others.length === 0 ? "none" : firstOf(others, 4);
  throw new HeddleError(
    "NOT_FOUND",
    `${folder}: expected model.safetensors, model.safetensors.index.json or one GGUF model, got ${got}`,
  );
}

async function openShards(folder: string, index: string): Promise<WeightSource> {
  const invalid = (message: string) => new HeddleError("INVALID_FILE", `${index}: ${message}`);
  const content = await readJson(index, { bytes: MAX_INDEX_BYTES });
  const map = isObject(content) ? content.weight_map : undefined;
  if (!isObject(map)) throw invalid("weight_map: expected an object of tensor names and shards");

  const shards = new Map<string, ReturnType<typeof openSafetensors>>();
  const table = new Map<string, Located>();
  let metadata: ReadonlyMap<string, string> = new Map();
  try {
    for (const [name, shard] of Object.entries(map)) {
      // Accept only plain names, because an untrusted index must not reach files outside its folder.
      if (typeof shard !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(shard)) {
        const got = typeof shard === "string" ? JSON.stringify(shard.slice(0, 100)) : typeof shard;
        throw invalid(`weight_map[${JSON.stringify(name.slice(0, 100))}]: expected a plain file name, got ${got}`);
      }
      let opened = shards.get(shard);
      if (!opened) {
        if (shards.size === MAX_SHARDS) throw invalid(`expected at most ${MAX_SHARDS} shards, got more`);
        opened = openSafetensors(join(folder, shard));
        shards.set(shard, opened);
        if (metadata.size === 0) metadata = opened.metadata;
      }
      const entry = opened.entries.get(name);
      if (!entry)
        throw invalid(`tensor ${JSON.stringify(name.slice(0, 100))}: expected in ${shard}, which does not have it`);
      table.set(name, { entry, file: opened.file });
    }
  } catch (error) {
    for (const { file } of shards.values()) file.close();
    throw error;
  }
  const files = [...shards.values()].map(({ file }) => file);
  return source({ format: "safetensors", path: folder, metadata }, table, files);
}

/**
 * Presents the tensors under the names that `rename` returns. It omits tensors for which `rename` returns undefined.
 * Errors: INVALID_FILE if two tensors get the same name.
 */
export function renameTensors(weights: WeightSource, rename: (name: string) => string | undefined): WeightSource {
  const originals = new Map<string, string>();
  for (const original of weights.names()) {
    const name = rename(original);
    if (name === undefined) continue;
    if (originals.has(name)) {
      throw new HeddleError(
        "INVALID_FILE",
        `${weights.path}: tensor ${JSON.stringify(name)}: expected once, got twice`,
      );
    }
    originals.set(name, original);
  }
  const original = (name: string) => originals.get(name) ?? missing(weights.path, name, originals.keys());
  return {
    ...weights,
    names: () => [...originals.keys()],
    has: (name) => originals.has(name),
    info: (name) => ({ ...weights.info(original(name)), name }),
    tensor: (name) => ({ ...weights.tensor(original(name)), name }),
  };
}

/**
 * Presents the tensors of several sources, which are closed together. Errors: INVALID_FILE if two tensors have the same
 * name.
 */
export function joinWeights(weights: WeightSource, others: readonly WeightSource[]): WeightSource {
  const places = new Map<string, WeightSource>();
  const all = [weights, ...others];
  for (const one of all)
    for (const name of one.names()) {
      if (places.has(name))
        throw new HeddleError("INVALID_FILE", `${one.path}: tensor ${JSON.stringify(name)}: expected once, got twice`);
      places.set(name, one);
    }
  const place = (name: string) => places.get(name) ?? missing(weights.path, name, places.keys());
  return {
    ...weights,
    names: () => [...places.keys()],
    has: (name) => places.has(name),
    info: (name) => place(name).info(name),
    tensor: (name) => place(name).tensor(name),
    close() {
      for (const one of all) one.close();
    },
  };
}
