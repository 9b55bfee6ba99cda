// Elements in another type, made by a device's lane and its threads.
import type { NativeLaneHandle, NativeMappedFile, NativeTensorHandle } from "../binding.ts";
import { HeddleError, throwIfAborted } from "../errors.ts";
import { BLOCK_TYPES, bytesOf, DTYPES, type FloatDType, isQuantised, type QuantisedDType } from "./dtype.ts";

/** Elements as they lie, little endian: an array that nobody changes or passes on until they are cast, or a part of a mapped file. */
export type ElementSource = Uint8Array | { file: NativeMappedFile; offset: number; bytes: number };

type NumberDType = FloatDType | QuantisedDType;

export interface LaneCast {
  from: NumberDType;
  to: NumberDType;
  /** Added before rounding. */
  addend?: number;
  signal?: AbortSignal | undefined;
}

export interface CastFindings {
  /** Finite numbers that became infinite. */
  overflows: number;
  /** Numbers of the source that are infinite or none. */
  notFinite: number;
}

/** Elements of one turn on the lane, some milliseconds' worth of the slowest type: what else is asked of the device comes between. */
const TURN = 1 << 22;

function pieceOf(dtype: NumberDType): { elements: number; bytes: number } {
  return isQuantised(dtype) ? BLOCK_TYPES[dtype] : { elements: 1, bytes: bytesOf(dtype) };
}

/** The elements of some bytes; not whole where they are not whole elements or blocks. */
export function elementsOf(dtype: NumberDType, bytes: number): number {
  const piece = pieceOf(dtype);
  return (bytes / piece.bytes) * piece.elements;
}

/** The bytes of some elements, whole blocks. */
export function bytesFor(dtype: NumberDType, elements: number): number {
  const piece = pieceOf(dtype);
  return (elements / piece.elements) * piece.bytes;
}

/**
 * Casts all of `source` to byte `at` of `target` on. Files are read by the lane's threads, and nothing but `target` grows with the tensor.
 * @throws HeddleError INVALID_ARGUMENT for parts of elements or blocks, UNSUPPORTED for a quantised type that is only read, NUMERICAL for a number
 *   that a quantised type does not hold, IO, ABORTED
 */
export async function castOnLane(
  lane: NativeLaneHandle,
  source: ElementSource,
  { from, to, addend = 0, signal }: LaneCast,
  target: NativeTensorHandle | ArrayBuffer,
  at = 0,
): Promise<CastFindings> {
  const inFile = !(source instanceof Uint8Array);
  const count = elementsOf(from, inFile ? source.bytes : source.byteLength);
  if (!Number.isInteger(count))
    throw new HeddleError("INVALID_ARGUMENT", `cast: expected whole elements of ${from}, got ${count}`);
  const found = { overflows: 0, notFinite: 0 };
  for (let first = 0; first < count; first += TURN) {
    throwIfAborted(signal, "cast");
    const some = Math.min(TURN, count - first);
    const offset = (inFile ? source.offset : 0) + bytesFor(from, first);
    const place = at + bytesFor(to, first);
    const numbers = [DTYPES[from], DTYPES[to]] as const;
    const counts = new Float64Array(
      await lane.cast(inFile ? source.file : source, offset, ...numbers, addend, some, target, place),
    );
    found.overflows += counts[0]!;
    found.notFinite += counts[1]!;
  }
  return found;
}
