// A stored tensor as a stream of chunks in another element type and the other format's layout, a MB at a time.
import { HeddleError } from "../errors.ts";
import { isQuantised } from "../graph/dtype.ts";
import { castBytes } from "./cast.ts";
import { isNumberDtype, type NumberDtype, pieceOf, type WeightDtype } from "./dtype.ts";
import { halfSplitRow, type LayoutChange, neighbourRow } from "./gguf-names.ts";
import type { StoredTensor } from "./weights.ts";

/** A chunk is converted in one go: a slow type's (q4_k: 40 ns a number) must not keep the event loop for long. */
const CHUNK_BYTES = 1 << 20;

export interface StreamOptions {
  dtype: NumberDtype;
  change: LayoutChange;
  /** The direction of `change`. */
  to: "safetensors" | "gguf";
  /** Refuse numbers that are not finite. */
  finite?: boolean;
}

/**
 * Yields the tensor's bytes; nothing but the chunk at hand is held (a transposed matrix is read whole).
 * @throws HeddleError NUMERICAL where a value does not fit the type, or with `finite` is none
 */
export async function* streamTensor(
  tensor: StoredTensor,
  { dtype, change, to, finite = false }: StreamOptions,
): AsyncGenerator<Uint8Array> {
  const addend = change.kind === "norm" ? (to === "gguf" ? 1 : -1) : 0;
  // Blocks cannot be transposed: those come as f32.
  const from = change.kind === "transpose" && isQuantised(tensor.dtype) ? "f32" : tensor.dtype;
  for (const chunk of inPieces(rearranged(tensor, change, to, dtype), chunkBytes(from, dtype))) {
    const out = cast(tensor.name, chunk, from, dtype, addend);
    // Blocks say it by the numbers that they stand for.
    if (finite) needFinite(tensor.name, isQuantised(from) ? out : chunk, isQuantised(from) ? dtype : from);
    yield out;
    await new Promise<void>((resolve) => setImmediate(resolve)); // the event loop breathes between chunks
  }
}

function* inPieces(chunks: Iterable<Uint8Array>, most: number): Generator<Uint8Array> {
  for (const chunk of chunks)
    for (let at = 0; at < chunk.length; at += most) yield chunk.subarray(at, Math.min(at + most, chunk.length));
}

/** Chunks of whole rows' blocks, of the stored type and of `dtype`. */
function* rearranged(
  tensor: StoredTensor,
  change: LayoutChange,
  to: "safetensors" | "gguf",
  dtype: NumberDtype,
): Generator<Uint8Array> {
  const { file, offset, bytes, shape } = tensor;
  switch (change.kind) {
    case "none":
    case "norm": {
      if (tensor.made) {
        yield* tensor.made();
        return;
      }
      const step = chunkBytes(tensor.dtype, dtype);
      for (let at = 0; at < bytes; at += step) {
        yield new Uint8Array(file.bytes(offset + at, Math.min(step, bytes - at)));
      }
      return;
    }
    case "rope": {
      const width = headWidth(tensor, change.heads);
      const rowBytes = bytes / shape[0]!;
      const source = to === "gguf" ? halfSplitRow : neighbourRow;
      for (let head = 0; head < change.heads; head++) {
        const from = new Uint8Array(file.bytes(offset + head * width * rowBytes, width * rowBytes));
        const out = new Uint8Array(from.length);
        for (let row = 0; row < width; row++) {
          const start = source(row, width) * rowBytes;
          out.set(from.subarray(start, start + rowBytes), row * rowBytes);
        }
        yield out;
      }
      return;
    }
    case "transpose": {
      yield* transposed(tensor);
    }
  }
}

/** Rows of each of the heads that a matrix's rows are. @throws INVALID_FILE where they are not an even number each */
export function headWidth({ name, shape }: Pick<StoredTensor, "name" | "shape">, heads: number): number {
  const rows = shape[0]!;
  const width = rows / heads;
  if (!Number.isInteger(width) || width % 2 !== 0)
    throw new HeddleError("INVALID_FILE", `${name}: expected ${heads} heads of an even width, got ${rows} rows`);
  return width;
}

/** About CHUNK_BYTES: a multiple of both types' blocks, of which every size divides the largest. */
function chunkBytes(from: WeightDtype, to: NumberDtype): number {
  const source = pieceOf(from);
  const elements = Math.max(source.elements, pieceOf(to).elements);
  const bytes = (elements / source.elements) * source.bytes;
  return Math.ceil(CHUNK_BYTES / bytes) * bytes;
}

function* transposed({ file, offset, bytes, shape, dtype, name }: StoredTensor): Generator<Uint8Array> {
  const [rows, columns] = shape as [number, number];
  const stored = new Uint8Array(file.bytes(offset, bytes));
  const numbers = isQuantised(dtype) ? castBytes(stored, dtype, "f32", name) : stored;
  const Elements = numbers.byteLength === rows * columns * 4 ? Uint32Array : Uint16Array;
  const from = new Elements(numbers.buffer);
  const step = Math.max(1, Math.floor(CHUNK_BYTES / (rows * Elements.BYTES_PER_ELEMENT)));
  for (let first = 0; first < columns; first += step) {
    const count = Math.min(step, columns - first);
    const out = new Elements(count * rows);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < count; column++) out[column * rows + row] = from[row * columns + first + column]!;
    }
    yield new Uint8Array(out.buffer);
  }
}

/** The bits of the exponent, all of which are set in infinities and in what is not a number. */
const exponents: Partial<Record<WeightDtype, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

function needFinite(name: string, bytes: Uint8Array, dtype: WeightDtype): void {
  const exponent = exponents[dtype];
  if (exponent === undefined) return;
  const Elements = dtype === "f32" ? Uint32Array : Uint16Array;
  // A mapped file's tensor may begin anywhere.
  const aligned = bytes.byteOffset % Elements.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  const count = aligned.byteLength / Elements.BYTES_PER_ELEMENT;
  const numbers = new Elements(aligned.buffer as ArrayBuffer, aligned.byteOffset, count);
  let bad = 0;
  for (let i = 0; i < numbers.length; i++) if ((numbers[i]! & exponent) === exponent) bad++;
  if (bad > 0)
    throw new HeddleError("NUMERICAL", `${name}: expected finite numbers, got ${bad} that are NaN or infinite`);
}

function cast(name: string, chunk: Uint8Array, from: WeightDtype, dtype: NumberDtype, addend: number): Uint8Array {
  if (!isNumberDtype(from)) {
    throw new HeddleError("UNSUPPORTED", `tensor ${name}: expected a floating or quantised type, got ${from}`);
  }
  return from === dtype && addend === 0 ? chunk : castBytes(chunk, from, dtype, name, addend);
}
