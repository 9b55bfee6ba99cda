// Split GGUF files, as written by llama.cpp's gguf-split: `x-00001-of-00003.gguf` and so on, each with a table of its
// tensors. The first part has the model's metadata.
import { basename, dirname, join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { type GgufFile, openGguf } from "./gguf-file.ts";
import { GgufMetadata } from "./gguf-metadata.ts";

/** Maximum number of parts. */
const MAX_PARTS = 4096;
const NAME = /^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$/s;

/** The number of a part and the count of parts. Parts of one model have the same prefix and count. */
interface PartName {
  prefix: string;
  /** Starts at 1. */
  number: number;
  count: number;
}

/** Parses the name of a part, or returns undefined. */
export function partName(path: string): PartName | undefined {
  const [, prefix, number, count] = NAME.exec(basename(path)) ?? [];
  return prefix === undefined ? undefined : { prefix, number: Number(number), count: Number(count) };
}

/** Returns the name of the first part, if all names are parts of one model. */
export function firstPart(names: readonly string[]): string | undefined {
  const parts = names.map(partName);
  const [one] = parts;
  const same = one && parts.every((part) => part?.prefix === one.prefix && part.count === one.count);
  return same ? fileOf(one, 1) : undefined;
}

function fileOf({ prefix, count }: Pick<PartName, "prefix" | "count">, number: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${prefix}-${digits(number)}-of-${digits(count)}.gguf`;
}

/** An open model: its parts in order, and the first part's metadata without the keys `split.*`. */
interface GgufParts {
  parts: GgufFile[];
  metadata: GgufMetadata;
}

/**
 * Opens a GGUF file. For a split file, opens all parts, which must be in one folder. `path` may name any of them.
 * Errors: as openGguf; NOT_FOUND for a missing part, INVALID_FILE for parts that do not belong together.
 */
export async function openGgufParts(path: string, signal?: AbortSignal): Promise<GgufParts> {
  const named = await openGguf(path, signal);
  const opened = [named];
  try {
    const { count, number } = splitOf(named);
    if (count > 1) {
      const name = nameOf(path, count, number);
      for (let i = 1; i <= count; i++) if (i !== number) opened.push(await openPart(path, name, i, signal));
    }
    const parts = opened.sort((a, b) => splitOf(a).number - splitOf(b).number);
    checkTogether(parts);
    return { parts, metadata: withoutSplit(parts[0]!.metadata, path) };
  } catch (error) {
    for (const { file } of opened) file.close();
    throw error;
  }
}

/**
 * Returns the number of parts that a file's metadata declares, and which of them the file is, counted from 1. An unsplit
 * file is part 1 of 1.
 */
function splitOf({ path, metadata }: GgufFile): { count: number; number: number } {
  const count = metadata.number("split.count") ?? 0;
  if (!isWhole(count, 0, MAX_PARTS)) {
    const message = `split.count: expected a whole number of at most ${MAX_PARTS} parts, got ${count}`;
    throw new HeddleError("INVALID_FILE", `${path}: ${message}`);
  }
  if (count <= 1) return { count: 1, number: 1 };
  const index = metadata.requireNumber("split.no");
  if (!isWhole(index, 0, count - 1)) {
    throw new HeddleError("INVALID_FILE", `${path}: split.no: expected 0 to ${count - 1}, got ${index}`);
  }
  return { count, number: index + 1 };
}

/** Parses the name of the opened part, from which the other parts' names follow. */
function nameOf(path: string, count: number, number: number): PartName {
  const name = partName(path);
  if (name?.count === count && name.number === number) return name;
  const expected = fileOf({ prefix: "…", count }, number);
  const message = `part ${number} of ${count}: expected the name ${expected}, because the other parts' names follow from it, got ${basename(path)}`;
  throw new HeddleError("INVALID_FILE", `${path}: ${message}`);
}

async function openPart(named: string, name: PartName, number: number, signal?: AbortSignal): Promise<GgufFile> {
  const file = fileOf(name, number);
  const path = join(dirname(named), file);
  let part: GgufFile;
  try {
    part = await openGguf(path, signal);
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== "NOT_FOUND") throw error;
    const message = `one of ${name.count} parts: expected ${file} in the same folder, got no such file`;
    throw new HeddleError("NOT_FOUND", `${named}: ${message}`, { cause: error });
  }
  try {
    const declared = splitOf(part);
    if (declared.count === name.count && declared.number === number) return part;
    const got = `part ${declared.number} of ${declared.count}`;
    throw new HeddleError("INVALID_FILE", `${path}: expected part ${number} of ${name.count}, got ${got}`);
  } catch (error) {
    part.file.close();
    throw error;
  }
}

/** Checks that no tensor is in two parts, and that each part's `split.tensors.count` is the total number of tensors, if it is set. */
function checkTogether(parts: readonly GgufFile[]): void {
  if (parts.length === 1) return;
  const total = parts.reduce((sum, { entries }) => sum + entries.size, 0);
  const names = new Set<string>();
  for (const part of parts) {
    const declared = part.metadata.number("split.tensors.count");
    if (declared !== undefined && declared !== total) {
      const message = `split.tensors.count: expected the ${total} tensors of all ${parts.length} parts, got ${declared}`;
      throw new HeddleError("INVALID_FILE", `${part.path}: ${message}`);
    }
    for (const name of part.entries.keys()) {
      if (names.has(name)) {
        const message = `tensor ${JSON.stringify(name)}: expected in one of ${parts.length} parts, found it twice`;
        throw new HeddleError("INVALID_FILE", `${part.path}: ${message}`);
      }
      names.add(name);
    }
  }
}

/** Removes the keys `split.*`, because a conversion writes a single file. */
function withoutSplit({ values }: GgufMetadata, path: string): GgufMetadata {
  return new GgufMetadata(new Map([...values].filter(([key]) => !key.startsWith("split."))), path);
}
