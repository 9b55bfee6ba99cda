/** Element types that heddle reads from and writes to weight files. */
export type WeightDtype = "f32" | "f16" | "bf16" | "i32" | "i64" | "u8";

/** Bytes of one element. */
export const WEIGHT_DTYPE_BYTES: Readonly<Record<WeightDtype, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
  i64: 8,
  u8: 1,
};

/** The number a floating dtype has at the native boundary (DType in native/runtime/tensor.h). */
export const NATIVE_FLOAT = { f32: 0, bf16: 1, f16: 2 } as const;

/** One of the three floating types that weights are stored in. */
export type FloatDtype = keyof typeof NATIVE_FLOAT;

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype in NATIVE_FLOAT;
}

/** The product of a shape's dimensions; NaN when it cannot be held exactly. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) {
    count *= dimension;
    if (!Number.isSafeInteger(count)) return Number.NaN;
  }
  return count;
}
