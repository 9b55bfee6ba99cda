import { BLOCK_TYPES, DTYPES, isQuantised, type QuantisedDType } from "../graph/dtype.ts";

/** Element types that heddle reads from and writes to weight files. */
export type WeightDtype = ElementDtype | QuantisedDType;
type ElementDtype = "f32" | "f16" | "bf16" | "i32" | "i64" | "u8";

const ELEMENT_BYTES: Readonly<Record<ElementDtype, number>> = { f32: 4, f16: 2, bf16: 2, i32: 4, i64: 8, u8: 1 };

/** The element types of weight files. */
export const WEIGHT_DTYPES: readonly WeightDtype[] = [
  ...(Object.keys(ELEMENT_BYTES) as ElementDtype[]),
  ...(Object.keys(BLOCK_TYPES) as QuantisedDType[]),
];

/** Returns the size of a type's smallest unit: one element, or a block of a quantised type. */
export function pieceOf(dtype: WeightDtype): { elements: number; bytes: number } {
  return isQuantised(dtype) ? BLOCK_TYPES[dtype] : { elements: 1, bytes: ELEMENT_BYTES[dtype] };
}

/** Returns the size of a tensor in bytes, or NaN if it is not exact in a double, or if rows are not whole blocks. */
export function weightBytes(dtype: WeightDtype, shape: readonly number[]): number {
  const { elements, bytes } = pieceOf(dtype);
  if (elements > 1 && (shape.at(-1) ?? 1) % elements !== 0) return Number.NaN;
  return (elementCount(shape) / elements) * bytes;
}

/** One of the three floating types that weights are stored in. */
export type FloatDtype = "f32" | "f16" | "bf16";

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Types that a model can compute with: floating or quantised. */
export type NumberDtype = FloatDtype | QuantisedDType;

export function isNumberDtype(dtype: string): dtype is NumberDtype {
  return isFloatDtype(dtype) || isQuantised(dtype);
}

/** Returns the number of a type in native code (DType in native/core/tensor.h). */
export function nativeNumber(dtype: NumberDtype): number {
  return DTYPES[dtype];
}

/** Returns the product of a shape's dimensions, or NaN if it is not exact in a double. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) {
    count *= dimension;
    if (!Number.isSafeInteger(count)) return Number.NaN;
  }
  return count;
}
