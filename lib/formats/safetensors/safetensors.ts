// Reads safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes without gaps. Format:
// https://github.com/huggingface/safetensors (README, "Format").
import { describe, HeddleError } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { elementCount } from "../../graph/dtype.ts";
import { type MappedFile, mapFile } from "../../io/mapped-file.ts";
import { parseStrictJson, type StrictJson } from "../../io/strict-json.ts";
import { truncatedFile } from "../../io/truncated-file.ts";
import type { WeightDType } from "../weight-dtype.ts";
import { BRACE, LENGTH_BYTES, lengthIn, MAX_SAFETENSORS_HEADER_BYTES } from "./safetensors-head.ts";

/**
 * All dtypes that a safetensors file may name, with bits per element. `dtype` is absent if heddle cannot use the type.
 */
const STORED_DTYPES: Readonly<Record<string, { bits: number; dtype?: WeightDType }>> = {
  F32: { bits: 32, dtype: "f32" },
  F16: { bits: 16, dtype: "f16" },
  BF16: { bits: 16, dtype: "bf16" },
  I32: { bits: 32, dtype: "i32" },
  I64: { bits: 64, dtype: "i64" },
  U8: { bits: 8, dtype: "u8" },
  BOOL: { bits: 8 },
  I8: { bits: 8 },
  F8_E4M3: { bits: 8, dtype: "u8" }, // raw bytes; fp8.ts decodes them
  F8_E5M2: { bits: 8 },
  F8_E8M0: { bits: 8 },
  I16: { bits: 16 },
  U16: { bits: 16 },
  U32: { bits: 32 },
  U64: { bits: 64 },
  F64: { bits: 64 },
  C64: { bits: 64 },
  F4: { bits: 4 },
  F6_E2M3: { bits: 6 },
  F6_E3M2: { bits: 6 },
};

const MAX_RANK = 16;
/** Limits of the header. They allow 131,072 tensors of up to two dimensions, and the texts that training tools write into __metadata__. */
const HEADER_LIMITS = { depth: 8, values: 2_097_152, keys: 131_073, stringBytes: 8_388_608 };

interface SafetensorsEntry {
  name: string;
  /** As written in the file, for example "BF16". */
  storedDtype: string;
  /** Absent for types that heddle does not compute with. */
  dtype?: WeightDType;
  shape: number[];
  /** Offset in bytes from the beginning of the file. */
  offset: number;
  bytes: number;
}

/** A mapped safetensors file with its parsed header. */
export interface SafetensorsFile {
  path: string;
  file: MappedFile;
  entries: ReadonlyMap<string, SafetensorsEntry>;
  /** The header's `__metadata__`. */
  metadata: ReadonlyMap<string, string>;
}

/** Maps a safetensors file and validates its header in full. Errors: NOT_FOUND, IO, INVALID_FILE. */
export function openSafetensors(path: string): SafetensorsFile {
  const file = mapFile(path);
  try {
    return { path, file, ...readHeader(file, path) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readHeader(file: MappedFile, path: string): Pick<SafetensorsFile, "entries" | "metadata"> {
  const invalid = (message: string) => new HeddleError("INVALID_FILE", `${path}: ${message}`);
  if (file.size === 0) throw invalid("not a safetensors file: got an empty file");
  if (file.size < LENGTH_BYTES)
    throw truncatedFile(path, file.size, { bytes: LENGTH_BYTES, within: "the header's length" });
  const start = new Uint8Array(file.bytes(0, Math.min(file.size, LENGTH_BYTES + 1)));
  const length = lengthIn(start);
  if (length > BigInt(MAX_SAFETENSORS_HEADER_BYTES))
    throw invalid(
      `not a safetensors file: expected a header of at most ${MAX_SAFETENSORS_HEADER_BYTES} bytes, got ${length}`,
    );
  const headerBytes = Number(length);
  if (start.length > LENGTH_BYTES && start[LENGTH_BYTES] !== BRACE)
    throw invalid("not a safetensors file: expected a header that begins with {, got another character");
  if (headerBytes > file.size - LENGTH_BYTES)
    throw truncatedFile(path, file.size, { bytes: LENGTH_BYTES + headerBytes, within: "the header" });
  let header: StrictJson;
  try {
    header = parseStrictJson(Buffer.from(file.bytes(LENGTH_BYTES, headerBytes)), HEADER_LIMITS);
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    throw invalid(`header: expected JSON: ${(cause as Error).message}`);
  }
  if (!(header instanceof Map)) throw invalid("header: expected a JSON object");

  const dataStart = LENGTH_BYTES + headerBytes;
  const entries: SafetensorsEntry[] = [];
  let metadata = new Map<string, string>();
  for (const [name, value] of header) {
    if (name === "__metadata__") metadata = readMetadata(value, invalid);
    else entries.push(readEntry(name, value, dataStart, invalid));
  }
  const end = checkLayout(entries, dataStart, invalid);
  if (end > file.size) throw truncatedFile(path, file.size, { bytes: end });
  if (end < file.size)
    throw invalid(`expected the data to end with the last tensor at ${end} bytes, got a file of ${file.size} bytes`);
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata };
}

type Invalid = (message: string) => HeddleError;

function readMetadata(value: StrictJson, invalid: Invalid): Map<string, string> {
  if (!(value instanceof Map)) throw invalid("__metadata__: expected an object of strings");
  for (const [key, text] of value) {
    if (typeof text !== "string") throw invalid(`__metadata__.${describe(key)}: expected a string`);
  }
  return value as Map<string, string>;
}

function readEntry(name: string, value: StrictJson, dataStart: number, invalid: Invalid): SafetensorsEntry {
  const label = `tensor ${describe(name)}`;
  if (!(value instanceof Map)) throw invalid(`${label}: expected an object`);
  for (const key of value.keys()) {
    if (key !== "dtype" && key !== "shape" && key !== "data_offsets")
      throw invalid(`${label}: unknown key ${describe(key)}`);
  }
  const storedDtype = value.get("dtype");
  const shape = value.get("shape");
  const offsets = value.get("data_offsets");
  if (typeof storedDtype !== "string" || !Object.hasOwn(STORED_DTYPES, storedDtype)) {
    const known = Object.keys(STORED_DTYPES).join(", ");
    throw invalid(`${label}: dtype: expected one of ${known}, got ${describe(String(storedDtype))}`);
  }
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isCount)) {
    throw invalid(`${label}: shape: expected at most ${MAX_RANK} whole numbers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw invalid(`${label}: data_offsets: expected two whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw invalid(`${label}: data_offsets: expected begin ≤ end, got [${begin}, ${end}]`);
  const { bits, dtype } = STORED_DTYPES[storedDtype]!;
  const expected = (elementCount(shape as number[]) * bits) / 8;
  if (expected !== end - begin) {
    throw invalid(`${label}: expected ${expected} bytes for ${storedDtype} [${shape.join(", ")}], got ${end - begin}`);
  }
  const offset = dataStart + begin;
  return { name, storedDtype, ...(dtype && { dtype }), shape: shape as number[], offset, bytes: end - begin };
}

/**
 * Checks that the tensors cover the data exactly. Gaps, in which foreign data could hide, and overlaps are errors.
 * @returns the end of the last tensor in the file
 */
function checkLayout(entries: SafetensorsEntry[], dataStart: number, invalid: Invalid): number {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let position = dataStart;
  for (const { name, offset, bytes } of sorted) {
    if (offset !== position) {
      throw invalid(
        `tensor ${describe(name)}: data_offsets: expected to begin at ${position - dataStart}, where the previous tensor ends, got ${offset - dataStart}`,
      );
    }
    position += bytes;
  }
  return position;
}

function isCount(value: StrictJson): boolean {
  return isWhole(value);
}
