// Reading GGUF versions 2 and 3 (little endian): metadata, tensor table, then the tensors' bytes.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count is bounded before it is used.
import { HeddleError } from "../../core/errors.ts";
import { inSlices, type Slices } from "../../core/slices.ts";
import { elementCount } from "../../graph/dtype.ts";
import { type MappedFile, mapFile } from "../../io/mapped-file.ts";
import { truncatedFile } from "../../io/truncated-file.ts";
import type { WeightDType } from "../weight-dtype.ts";
import { GgufMetadata } from "./gguf-metadata.ts";
import { GgufReader } from "./gguf-reader.ts";
import { GGML_TYPES, type GgufValue } from "./gguf-types.ts";

/** "GGUF" as a little-endian number. */
const MAGIC = 0x46554747;
const MAX_KEYS = 65_536;
const MAX_TENSORS = 131_072;
const MAX_KEY_BYTES = 65_535;
const MAX_TENSOR_NAME_BYTES = 256;
const MAX_RANK = 4;
const MAX_ALIGNMENT = 1 << 20;
const DEFAULT_ALIGNMENT = 32;
/** Number of table entries to read before yielding to the event loop. */
const SLICE_TENSORS = 1024;

/** A tensor in the table of a GGUF file. */
interface GgufEntry {
  name: string;
  /** ggml's name of the type, for example "Q4_K". */
  storedDtype: string;
  /** Absent for types that heddle does not compute with. */
  dtype?: WeightDType;
  /** Row-major: the last dimension is contiguous. The file lists dimensions in reverse order. */
  shape: number[];
  /** Offset in bytes from the beginning of the file. */
  offset: number;
  bytes: number;
}

/** An open GGUF file: its metadata, and its tensors by name. */
export interface GgufFile {
  path: string;
  file: MappedFile;
  version: 2 | 3;
  alignment: number;
  metadata: GgufMetadata;
  entries: ReadonlyMap<string, GgufEntry>;
}

/** Maps a GGUF file, and validates all its metadata and its tensor table. Errors: NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED (version, type), ABORTED. */
export async function openGguf(path: string, signal?: AbortSignal): Promise<GgufFile> {
  const file = mapFile(path);
  try {
    return { path, file, ...(await inSlices(readGguf(file, path), path, signal)) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function* readGguf(file: MappedFile, path: string): Slices<Omit<GgufFile, "path" | "file">> {
  const reader = new GgufReader(file, path);
  const version = readVersion(reader);
  const tensorCount = reader.count("tensor count", MAX_TENSORS);
  const keyCount = reader.count("metadata count", MAX_KEYS);

  const values = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = reader.string(`key ${i}`, MAX_KEY_BYTES);
    if (values.has(key)) throw reader.invalid(`metadata: duplicate key ${JSON.stringify(key.slice(0, 100))}`);
    values.set(key, yield* reader.value(inMessage(key)));
  }
  const metadata = new GgufMetadata(values, path);
  const alignment = readAlignment(reader, metadata);

  const table: RawEntry[] = [];
  for (let i = 0; i < tensorCount; i++) {
    table.push(readEntry(reader, i));
    if (i % SLICE_TENSORS === 0) yield;
  }
  const dataStart = padded(reader.position, alignment);
  const entries = yield* placeTensors(reader, table, dataStart, alignment);
  return { version, alignment, metadata, entries };
}

/** Returns a key for messages, which are one line each. */
function inMessage(key: string): string {
  return /[\p{Cc}\u2028\u2029]/u.test(key) ? JSON.stringify(key).replace(/[\u2028\u2029]/g, " ") : key;
}

function readVersion(reader: GgufReader): 2 | 3 {
  if (reader.size < 4 || reader.u32("the first bytes") !== MAGIC)
    throw reader.invalid('not a GGUF file: expected it to begin with "GGUF"');
  const version = reader.u32("version");
  if (version === 2 || version === 3) return version;
  if (version === 1) {
    throw new HeddleError("UNSUPPORTED", `${reader.path}: GGUF version: expected 2 or 3, got 1`);
  }
  // A big-endian file stores the version's bytes in reverse, so its lower 16 bits are 0.
  if (version !== 0 && (version & 0xffff) === 0) {
    throw new HeddleError("UNSUPPORTED", `${reader.path}: expected a little-endian GGUF file, got a big-endian file`);
  }
  throw reader.invalid(`version: expected 2 or 3, got ${version}`);
}

function readAlignment(reader: GgufReader, metadata: GgufMetadata): number {
  const alignment = metadata.number("general.alignment") ?? DEFAULT_ALIGNMENT;
  // llama.cpp requires a power of two.
  if (
    !Number.isInteger(alignment) ||
    alignment < 1 ||
    alignment > MAX_ALIGNMENT ||
    (alignment & (alignment - 1)) !== 0
  ) {
    throw reader.invalid(`general.alignment: expected a power of two of at most ${MAX_ALIGNMENT}, got ${alignment}`);
  }
  return alignment;
}

interface RawEntry {
  name: string;
  typeNumber: number;
  shape: number[];
  /** Offset from the beginning of the data. */
  relative: bigint;
}

function readEntry(reader: GgufReader, index: number): RawEntry {
  const name = reader.string(`tensor ${index}: name`, MAX_TENSOR_NAME_BYTES);
  const label = `tensor ${JSON.stringify(name)}`;
  const rank = reader.u32(`${label}: dimensions`);
  if (rank < 1 || rank > MAX_RANK) throw reader.invalid(`${label}: expected 1 to ${MAX_RANK} dimensions, got ${rank}`);
  const shape: number[] = [];
  for (let d = 0; d < rank; d++) {
    const size = reader.u64(`${label}: dimension ${d}`);
    if (size < 1n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw reader.invalid(`${label}: dimension ${d}: expected at least 1 and less than 2^53, got ${size}`);
    }
    shape.unshift(Number(size));
  }
  const typeNumber = reader.u32(`${label}: type`);
  return { name, typeNumber, shape, relative: reader.u64(`${label}: offset`) };
}

/**
 * Computes where each tensor begins: at the padded end of the previous one, as llama.cpp requires. Gaps and overlaps
 * are rejected.
 */
function* placeTensors(
  reader: GgufReader,
  table: RawEntry[],
  dataStart: number,
  alignment: number,
): Slices<Map<string, GgufEntry>> {
  const entries = new Map<string, GgufEntry>();
  let end = 0;
  for (const { name, typeNumber, shape, relative } of table) {
    const label = `tensor ${JSON.stringify(name)}`;
    if (entries.has(name)) throw reader.invalid(`${label}: expected once, got twice`);
    const type = GGML_TYPES.get(typeNumber);
    if (!type) throw new HeddleError("UNSUPPORTED", `${reader.path}: ${label}: ggml type ${typeNumber} is not known`);
    const row = shape[shape.length - 1]!;
    if (row % type.blockElements !== 0) {
      throw reader.invalid(
        `${label}: expected rows of a multiple of ${type.blockElements} elements for ${type.name}, got ${row}`,
      );
    }
    const start = padded(end, alignment);
    if (relative !== BigInt(start)) {
      throw reader.invalid(
        `${label}: offset: expected ${start}, the padded end of the previous tensor, got ${relative}`,
      );
    }
    const bytes = (elementCount(shape) / type.blockElements) * type.blockBytes;
    end = start + bytes;
    // The condition is negated so that NaN (an element count beyond 2^53) fails too.
    if (!(dataStart + end <= Number.MAX_SAFE_INTEGER))
      throw reader.invalid(`${label}: ${type.name} [${shape.join(", ")}]: expected fewer than 2^53 bytes, got more`);
    const { dtype } = type;
    const offset = dataStart + start;
    entries.set(name, { name, storedDtype: type.name, ...(dtype && { dtype }), shape, offset, bytes });
    if (entries.size % SLICE_TENSORS === 0) yield;
  }
  // A file without tensors may end after its table.
  if (table.length > 0 && dataStart + end > reader.size)
    throw truncatedFile(reader.path, reader.size, { bytes: dataStart + end });
  return entries;
}

function padded(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
