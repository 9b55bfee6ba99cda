// The element types of ggml and the value types of GGUF metadata.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; block sizes as in ggml's ggml-common.h.

import type { NativeStringList } from "../../binding/tokenizer.ts";
import { BLOCK_TYPES, isQuantized, type NumberDType, type QuantizedDType } from "../../graph/dtype.ts";
import type { WeightDType } from "../weight-dtype.ts";

interface GgmlType {
  name: string;
  /** Number of elements per block. The length of a row, a tensor's contiguous dimension, is a multiple of it. */
  blockElements: number;
  blockBytes: number;
  /** Absent for types that heddle does not compute with. */
  dtype?: WeightDType;
}

function type(name: string, blockElements: number, blockBytes: number, dtype?: WeightDType): GgmlType {
  return { name, blockElements, blockBytes, ...(dtype && { dtype }) };
}

const computed = Object.entries(BLOCK_TYPES).map(([name, { elements, bytes, ggml }]): [number, GgmlType] => [
  ggml,
  type(name.toUpperCase(), elements, bytes, name as QuantizedDType),
]);

/** Types by number. Missing numbers were removed from ggml (4, 5, 31-33, 36-38) or are unknown here. */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, type("F32", 1, 4, "f32")],
  [1, type("F16", 1, 2, "f16")],
  ...computed,
  [9, type("Q8_1", 32, 36)],
  [15, type("Q8_K", 256, 292)],
  [16, type("IQ2_XXS", 256, 66)],
  [17, type("IQ2_XS", 256, 74)],
  [18, type("IQ3_XXS", 256, 98)],
  [19, type("IQ1_S", 256, 50)],
  [21, type("IQ3_S", 256, 110)],
  [22, type("IQ2_S", 256, 82)],
  [24, type("I8", 1, 1)],
  [25, type("I16", 1, 2)],
  [26, type("I32", 1, 4, "i32")],
  [27, type("I64", 1, 8, "i64")],
  [28, type("F64", 1, 8)],
  [29, type("IQ1_M", 256, 56)],
  [30, type("BF16", 1, 2, "bf16")],
  [34, type("TQ1_0", 256, 54)],
  [35, type("TQ2_0", 256, 66)],
  [40, type("NVFP4", 64, 36)],
]);

const FLOAT_NUMBERS = { f32: 0, f16: 1, bf16: 30 } as const;

/** Returns ggml's number of a type, for writing. */
export function ggmlNumber(dtype: NumberDType): number {
  return isQuantized(dtype) ? BLOCK_TYPES[dtype].ggml : FLOAT_NUMBERS[dtype];
}

/** Metadata value types in the order of their numbers in the file. */
export const GGUF_VALUE_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
/** The type of a metadata value or of an array's elements. */
export type GgufValueType = (typeof GGUF_VALUE_TYPES)[number];

/** Size of one value in bytes, or 0 for types of variable length. */
export const GGUF_VALUE_BYTES: Readonly<Record<GgufValueType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 0,
  array: 0,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** The elements of an array of numbers. */
export type GgufNumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** A metadata array. `of` is the type of its elements. */
export type GgufArray =
  | {
      type: "array";
      of: "string";
      readonly value: string[];
      /** The same strings in native memory, if they were read from a file. */
      list?: NativeStringList;
    }
  | { type: "array"; of: "bool"; value: boolean[] }
  | { type: "array"; of: "array"; value: GgufArray[] }
  | { type: "array"; of: Exclude<GgufValueType, "string" | "bool" | "array">; value: GgufNumberArray };

/** A metadata value with its type, so that a file can be written back as it was. */
export type GgufValue =
  | { type: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64"; value: number }
  | { type: "u64" | "i64"; value: bigint }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | GgufArray;
