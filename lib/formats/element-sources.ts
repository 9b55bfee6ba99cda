// Locates a stored tensor's elements, in the order of its file format or of the format to convert to (safetensors or GGUF).
import { HeddleError } from "../core/errors.ts";
import { elementCount, isQuantized, type NumberDType } from "../graph/dtype.ts";
import type { Device } from "../graph/index.ts";
import type { ElementView, StoredElements } from "../graph/lane-cast.ts";
import type { LayoutChange } from "./gguf/gguf-names.ts";
import { castTogether } from "./native-cast.ts";
import { pieceOf } from "./weight-dtype.ts";
import type { StoredTensor } from "./weights.ts";

/** Returns the parts of files that hold a tensor's elements, in order. */
export function sourcesOf({ sources, file, offset, bytes }: StoredTensor): StoredElements[] {
  return sources?.() ?? [{ data: file, offset, bytes }];
}

/** Returns elements that are in memory as a source. */
export function elementsIn(data: Uint8Array, view?: ElementView): StoredElements {
  return { data, offset: 0, bytes: data.length, ...(view && { view }) };
}

/** Elements of type `from`, in the order of their sources. */
export interface OrderedElements {
  sources: StoredElements[];
  from: NumberDType;
}

/**
 * Returns a tensor's elements in the layout of the format `to`.
 * @param change the difference between the layouts of the two formats
 * @throws HeddleError INVALID_FILE if the rows cannot be split into the heads of `change`; for a transposition, the errors of `transposed`
 */
export async function inOrderOf(
  device: Device,
  tensor: StoredTensor,
  change: LayoutChange,
  to: "safetensors" | "gguf",
): Promise<OrderedElements> {
  const from = tensor.dtype as NumberDType;
  if (change.kind === "transpose") return transposed(device, tensor);
  const sources = sourcesOf(tensor);
  if (change.kind !== "rope" && change.kind !== "qkv") return { sources, from };
  const [only, ...more] = sources;
  if (more.length > 0 || only!.view)
    throw new HeddleError("INVALID_FILE", `${tensor.name}: expected a single matrix, got a matrix in several parts`);
  const view = change.kind === "rope" ? ropeView : qkvView;
  return { sources: [{ ...only!, view: view(tensor, change.heads, to) }], from };
}

/**
 * Transposes a matrix (rows, columns) by a view. A matrix of quantized blocks, of 8-bit floats or of several parts has no
 * such view, so it is converted to f32 in memory.
 * @throws HeddleError NUMERICAL, IO, OUT_OF_MEMORY
 */
export async function transposed(device: Device, tensor: StoredTensor): Promise<OrderedElements> {
  const { dtype, name, shape } = tensor;
  const [rows, columns] = shape as [number, number];
  const view = transposedView(rows, columns);
  const from = dtype as NumberDType;
  const sources = sourcesOf(tensor);
  const [only] = sources;
  if (sources.length === 1 && !only!.view && !only!.fp8 && !isQuantized(from))
    return { sources: [{ ...only!, view }], from };
  return { sources: [elementsIn(await castTogether(device, sources, { name, from, to: "f32" }), view)], from: "f32" };
}

/** Returns the view that reads a matrix (rows, columns) as (columns, rows). */
export function transposedView(rows: number, columns: number): ElementView {
  return { sizes: [columns, rows], strides: [1, columns] };
}

/**
 * Reorders the rows of each head. The two rows that RoPE rotates together are j and j + width / 2 in transformers, and
 * 2j and 2j + 1 in GGUF.
 * @throws HeddleError INVALID_FILE
 */
function ropeView(tensor: StoredTensor, heads: number, to: "safetensors" | "gguf"): ElementView {
  const width = headWidth(tensor, heads);
  const columns = columnsOf(tensor);
  const half = width / 2;
  return to === "gguf"
    ? { sizes: [heads, half, 2, columns], strides: [width * columns, columns, half * columns, 1] }
    : { sizes: [heads, 2, half, columns], strides: [width * columns, columns, 2 * columns, 1] };
}

/**
 * Reorders the rows of q, k and v between one group per head (transformers) and all of q, then k, then v (GGUF).
 * @throws HeddleError INVALID_FILE
 */
function qkvView(tensor: StoredTensor, heads: number, to: "safetensors" | "gguf"): ElementView {
  const width = qkvWidth(tensor, heads);
  const columns = columnsOf(tensor);
  const [count, inner] = to === "gguf" ? [3, heads] : [heads, 3];
  // The outer dimension of the result is the inner one of the source.
  return {
    sizes: [count, inner, width, columns],
    strides: [width * columns, count * width * columns, columns, 1],
  };
}

function columnsOf({ name, dtype, shape }: StoredTensor): number {
  const columns = elementCount(shape.slice(1));
  if (columns % pieceOf(dtype).elements !== 0)
    throw new HeddleError(
      "INVALID_FILE",
      `${name}: expected rows of whole ${dtype} blocks, got rows of ${columns} elements`,
    );
  return columns;
}

/** Returns the number of rows of q, k or v per head. @throws INVALID_FILE if the rows cannot be split evenly */
export function qkvWidth({ name, shape }: Pick<StoredTensor, "name" | "shape">, heads: number): number {
  const width = shape[0]! / (3 * heads);
  if (Number.isInteger(width)) return width;
  throw new HeddleError("INVALID_FILE", `${name}: expected q, k and v of ${heads} heads, got ${shape[0]} rows`);
}

/** Returns the number of rows per head. @throws INVALID_FILE if it is not a whole, even number */
export function headWidth({ name, shape }: Pick<StoredTensor, "name" | "shape">, heads: number): number {
  const rows = shape[0]!;
  const width = rows / heads;
  if (!Number.isInteger(width) || width % 2 !== 0)
    throw new HeddleError("INVALID_FILE", `${name}: expected ${heads} heads of an even width, got ${rows} rows`);
  return width;
}
