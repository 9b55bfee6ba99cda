// Chooses the type of each tensor of a quantized model, in a GGUF file or while loading. It follows llama.cpp, except
// that it uses only types that heddle can write.

import { elementCount, type NumberDType } from "../graph/dtype.ts";
import type { TensorData } from "./tensor-data.ts";
import { pieceOf } from "./weight-dtype.ts";

/** The quantized types that weights may be converted to. */
export type QuantizedTarget = "q8_0" | "q4_0" | "q4_k" | "q6_k";

const TARGETS: readonly QuantizedTarget[] = ["q8_0", "q4_0", "q4_k", "q6_k"];

/** The types that a conversion can write, for messages. */
export const dtypeNames = `f32, f16, bf16, fp8, ${TARGETS.join(", ").replace(/, (?=[^,]*$)/, " or ")}`;

/** Matches the names of llama.cpp's mixes, which use one type for most matrices, and other types for some matrices. */
const MIXES = /^(ud-)?(q[2-8]_k_(xs|s|m|l|xl)|iq[23]_m|iq3_xs)$/;

/** Whether a name is that of a mix of types, such as q4_k_m. */
export function isMix(dtype: unknown): dtype is string {
  return typeof dtype === "string" && MIXES.test(dtype);
}

/** Whether a value is the name of a quantized type that a conversion can write. */
export function isQuantizedTarget(dtype: unknown): dtype is QuantizedTarget {
  return TARGETS.includes(dtype as QuantizedTarget);
}

/** Replacements for types whose blocks of 256 do not fit the rows: types with blocks of 32 and slightly more bits per weight. */
const SMALLER_BLOCKS: Partial<Record<QuantizedTarget, NumberDType>> = { q4_k: "q5_0", q6_k: "q8_0" };

/**
 * Chooses the type of one matrix. The head (or the tied embedding) is at least q6_k, because its errors affect every
 * token. Rows whose length is not a multiple of 256 become q5_0 (for q4_k) or q8_0 (for q6_k). Rows whose length is not
 * a multiple of 32 become f16.
 */
export function quantizedType(
  wanted: QuantizedTarget,
  { shape, head }: { shape: readonly number[]; head: boolean },
): NumberDType {
  const width = shape.at(-1)!;
  const type = head && wanted !== "q8_0" ? "q6_k" : wanted;
  const fits = (dtype: NumberDType) => width % pieceOf(dtype).elements === 0;
  if (fits(type)) return type;
  const smaller = SMALLER_BLOCKS[type];
  return smaller && fits(smaller) ? smaller : "f16";
}

/** Returns a note about the matrices whose rows do not fit the requested type's blocks, or an empty list. */
export function widerMatrices(tensors: readonly TensorData[], wanted: unknown): string[] {
  if (!isQuantizedTarget(wanted)) return [];
  const { elements } = pieceOf(wanted);
  const wider = tensors.filter(
    ({ shape, dtype }) => shape.length > 1 && dtype !== "f32" && shape.at(-1)! % elements !== 0,
  );
  if (wider.length === 0) return [];
  const listed = (values: readonly (string | number)[]) => [...new Set(values)].sort().join(", ");
  const [types, widths] = [listed(wider.map(({ dtype }) => dtype)), listed(wider.map(({ shape }) => shape.at(-1)!))];
  return [
    `matrices in ${types} instead of ${wanted}: ${wider.length}, because their row sizes (${widths}) are not multiples of the block size ${elements}`,
  ];
}

/** llama.cpp's numbers (`llama_ftype`) for files that are mostly of one type. */
const FILE_TYPES: Partial<Record<NumberDType, number>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q3_k: 12,
  q4_k: 14,
  q5_k: 16,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  bf16: 32,
  mxfp4: 38,
};

/** Returns `general.file_type`: the type of most of the matrices' elements. */
export function fileType(tensors: readonly TensorData[]): number {
  const counts = new Map<string, number>();
  for (const { dtype, shape } of tensors)
    if (shape.length > 1) counts.set(dtype, (counts.get(dtype) ?? 0) + elementCount(shape));
  const [most = "f32"] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  return FILE_TYPES[most as NumberDType] ?? 0;
}
