/** Element types. The numbers cross the binding: keep them equal to `DType` in native/runtime/tensor.h. */
export const DTYPES = { f32: 0, bf16: 1, f16: 2, i32: 3, u8: 4 } as const;

export type DType = keyof typeof DTYPES;
export type FloatDType = "f32" | "bf16" | "f16";

const BYTES: Record<DType, number> = { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 };

/** Bytes of one element. */
export function bytesOf(dtype: DType): number {
  return BYTES[dtype];
}

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || dtype === "bf16" || dtype === "f16";
}
