// Converts elements to another type and order, on the threads of a device's lane.
import type { NativeMappedFile } from "../binding/files.ts";
import type { NativeLaneHandle, NativeTensorHandle } from "../binding/graph.ts";
import { HeddleError, throwIfAborted } from "../core/errors.ts";
import { BLOCK_TYPES, bytesOf, DTYPES, isQuantized, type NumberDType } from "./dtype.ts";

/**
 * A strided view of up to 4 dimensions. Element (i, j, …) of the row-major result is element start + i · strides[0] + j · strides[1] + …
 * of the source.
 */
export interface ElementView {
  sizes: readonly number[];
  strides: readonly number[];
  start?: number;
}

/** Elements of a mapped file or an array: `bytes` bytes from `offset` on. */
export interface StoredElements {
  data: NativeMappedFile | Uint8Array;
  offset: number;
  bytes: number;
  /**
   * For 8-bit floats (e4m3): the scales of blocks of 128 × 128, and the columns of the matrix. `from` is then f32, or bf16 to round the
   * scaled numbers first.
   */
  fp8?: { scales: Float32Array; columns: number };
  /** For MXFP4 stored as 16 bytes per block with adjacent elements in one byte: the scales, one byte per block. */
  mxfp4?: { data: NativeMappedFile | Uint8Array; offset: number };
  /** The view to convert. Default: all elements in order. With quantized types, rows must be whole blocks and the last stride 1. */
  view?: ElementView;
}

/** Elements to convert, in little-endian order. An array must not be changed or transferred until the cast is done. */
export type ElementSource = Uint8Array | StoredElements;

/** Options of `castOnLane`. */
interface LaneCast {
  from: NumberDType;
  to: NumberDType;
  /** A number to add to each element before rounding. */
  addend?: number;
  signal?: AbortSignal | undefined;
}

/** Counts of overflows and of non-finite elements in a cast. */
export interface CastFindings {
  /** Number of finite values that became infinite. */
  overflows: number;
  /** Number of source values that are infinite or NaN. */
  notFinite: number;
}

/** Elements per job on the lane, a few milliseconds of work for the slowest type. Other work of the device runs in between. */
const ELEMENTS_PER_JOB = 1 << 22;

function pieceOf(dtype: NumberDType): { elements: number; bytes: number } {
  return isQuantized(dtype) ? BLOCK_TYPES[dtype] : { elements: 1, bytes: bytesOf(dtype) };
}

/** Returns how many elements a number of bytes holds; a fraction if they are not whole elements or blocks. */
export function elementsOf(dtype: NumberDType, bytes: number): number {
  const piece = pieceOf(dtype);
  return (bytes / piece.bytes) * piece.elements;
}

/** Returns how many bytes a number of elements takes, which must be whole blocks. */
export function bytesFor(dtype: NumberDType, elements: number): number {
  const piece = pieceOf(dtype);
  return (elements / piece.elements) * piece.bytes;
}

/** Returns how many elements a source has; a fraction if its bytes are not whole elements or blocks. */
export function countOf(source: ElementSource, dtype: NumberDType): number {
  if (source instanceof Uint8Array) return elementsOf(dtype, source.byteLength);
  return source.view ? source.view.sizes.reduce((a, b) => a * b, 1) : storedCount(source, dtype);
}

function storedCount({ bytes, fp8, mxfp4 }: StoredElements, dtype: NumberDType): number {
  if (fp8) return bytes;
  return mxfp4 ? bytes * 2 : elementsOf(dtype, bytes);
}

/** A range of a source's elements. Both ends are multiples of the block sizes of the source's and the target's type. */
export interface ElementRange {
  first: number;
  count: number;
}

/**
 * Casts `source`, or a range of it, to `target` from byte `at` on. The lane's threads read files piecewise, so no memory but `target`
 * grows with the tensor.
 * @throws HeddleError INVALID_ARGUMENT for partial elements or blocks and for a view outside the source. UNSUPPORTED for a quantized type
 * that can only be read. NUMERICAL for a number that a quantized type cannot hold. IO, ABORTED
 */
export async function castOnLane(
  lane: NativeLaneHandle,
  source: ElementSource,
  { from, to, addend = 0, signal }: LaneCast,
  target: NativeTensorHandle | ArrayBuffer,
  at = 0,
  range: ElementRange = { first: 0, count: countOf(source, from) },
): Promise<CastFindings> {
  if (!Number.isInteger(range.count))
    throw new HeddleError("INVALID_ARGUMENT", `cast: expected whole elements of ${from}, got ${range.count}`);
  const { data, offset, how } = nativeSource(source, from);
  const found = { overflows: 0, notFinite: 0 };
  for (let done = 0; done < range.count; done += ELEMENTS_PER_JOB) {
    throwIfAborted(signal, "cast");
    const count = Math.min(ELEMENTS_PER_JOB, range.count - done);
    const place = at + bytesFor(to, done);
    const job = { ...how, first: range.first + done };
    const counts = new Float64Array(
      await lane.cast(data, offset, DTYPES[from], DTYPES[to], addend, count, target, place, job),
    );
    found.overflows += counts[0]!;
    found.notFinite += counts[1]!;
  }
  return found;
}

function nativeSource(source: ElementSource, from: NumberDType) {
  if (source instanceof Uint8Array)
    return { data: source, offset: 0, how: { elements: elementsOf(from, source.byteLength) } };
  const { data, offset, view, fp8, mxfp4 } = source;
  const how = {
    elements: storedCount(source, from),
    ...(view && { start: 0, ...view }),
    ...fp8,
    ...(mxfp4 && { scaleSource: mxfp4.data, scaleOffset: mxfp4.offset }),
  };
  return { data, offset, how };
}
