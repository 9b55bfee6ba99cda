/**
 * Quantized element types of weights, in the order of native/core/block_types.h: each row consists of whole blocks in ggml's layouts.
 * `elements` and `bytes` are the size of one block, `ggml` is the type's number in GGUF files.
 */
export const BLOCK_TYPES = {
  q8_0: { elements: 32, bytes: 34, ggml: 8 },
  q4_0: { elements: 32, bytes: 18, ggml: 2 },
  q4_1: { elements: 32, bytes: 20, ggml: 3 },
  q5_0: { elements: 32, bytes: 22, ggml: 6 },
  q5_1: { elements: 32, bytes: 24, ggml: 7 },
  q2_k: { elements: 256, bytes: 84, ggml: 10 },
  q3_k: { elements: 256, bytes: 110, ggml: 11 },
  q4_k: { elements: 256, bytes: 144, ggml: 12 },
  q5_k: { elements: 256, bytes: 176, ggml: 13 },
  q6_k: { elements: 256, bytes: 210, ggml: 14 },
  iq4_nl: { elements: 32, bytes: 18, ggml: 20 },
  iq4_xs: { elements: 256, bytes: 136, ggml: 23 },
  mxfp4: { elements: 32, bytes: 17, ggml: 39 },
} as const;

/** Names of the quantized types of weights. Their blocks have ggml's layouts. @useDeclaredType */
export type QuantizedDType = keyof typeof BLOCK_TYPES;
/** A floating-point element type. Gradients exist only for these. */
export type FloatDType = "f32" | "bf16" | "f16";
/** An element type of a model's numbers: floating-point or quantized. */
export type NumberDType = FloatDType | QuantizedDType;
/** An element type: floating-point, integer, byte, or quantized in blocks. */
export type DType = FloatDType | "i32" | "u8" | QuantizedDType;

const ELEMENTS = { f32: 0, bf16: 1, f16: 2, i32: 3, u8: 4 } as const;
const BYTES: Readonly<Record<string, number>> = { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 };

/** The number of each element type. Native code uses the same numbers: see `DType` in native/core/tensor.h. */
export const DTYPES: Readonly<Record<DType, number>> = {
  ...ELEMENTS,
  ...(Object.fromEntries(Object.keys(BLOCK_TYPES).map((name, i) => [name, 5 + i])) as Record<QuantizedDType, number>),
};

/** Returns the bytes of one element, or 0 for quantized types, which only have a size per block. */
export function bytesOf(dtype: DType): number {
  return typeof dtype === "string" && Object.hasOwn(BYTES, dtype) ? BYTES[dtype]! : 0;
}

/** Number of elements of a tensor; NaN if it is beyond the safe integers. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) {
    count *= dimension;
    if (!Number.isSafeInteger(count)) return Number.NaN;
  }
  return count;
}

/** Returns the bytes of a tensor. Rows of a quantized type must be whole blocks. */
export function byteLength(dtype: DType, shape: readonly number[]): number {
  const elements = elementCount(shape);
  if (!isQuantized(dtype)) return elements * bytesOf(dtype);
  const block = BLOCK_TYPES[dtype];
  return (elements / block.elements) * block.bytes;
}

/** Whether a value is the name of an element type. */
export function isDType(name: unknown): name is DType {
  return typeof name === "string" && Object.hasOwn(DTYPES, name);
}

/** Whether an element type is f32, bf16 or f16. */
export function isFloat(dtype: string): dtype is FloatDType {
  return dtype === "f32" || dtype === "bf16" || dtype === "f16";
}

/** Whether a name is that of a quantized type. */
export function isQuantized(dtype: string): dtype is QuantizedDType {
  return typeof dtype === "string" && Object.hasOwn(BLOCK_TYPES, dtype);
}

/** Whether an element type is floating or of quantized blocks. */
export function isNumber(dtype: string): dtype is NumberDType {
  return isFloat(dtype) || isQuantized(dtype);
}
