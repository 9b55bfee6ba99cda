import { BLOCK_TYPES, elementCount, isQuantized, type QuantizedDType } from "../graph/dtype.ts";

/** Element types that heddle reads from and writes to weight files. */
export type WeightDType = ElementDType | QuantizedDType;
type ElementDType = "f32" | "f16" | "bf16" | "i32" | "i64" | "u8";

const ELEMENT_BYTES: Readonly<Record<ElementDType, number>> = { f32: 4, f16: 2, bf16: 2, i32: 4, i64: 8, u8: 1 };

/** The element types of weight files. */
export const WEIGHT_DTYPES: readonly WeightDType[] = [
  ...(Object.keys(ELEMENT_BYTES) as ElementDType[]),
  ...(Object.keys(BLOCK_TYPES) as QuantizedDType[]),
];

/** Returns the size of a type's smallest unit: one element, or a block of a quantized type. */
export function pieceOf(dtype: WeightDType): { elements: number; bytes: number } {
  return isQuantized(dtype) ? BLOCK_TYPES[dtype] : { elements: 1, bytes: ELEMENT_BYTES[dtype] };
}

/** Returns the size of a tensor in bytes, or NaN if it is not exact in a double, or if rows are not whole blocks. */
export function weightBytes(dtype: WeightDType, shape: readonly number[]): number {
  const { elements, bytes } = pieceOf(dtype);
  if (elements > 1 && (shape.at(-1) ?? 1) % elements !== 0) return Number.NaN;
  return (elementCount(shape) / elements) * bytes;
}
