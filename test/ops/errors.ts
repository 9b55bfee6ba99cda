// Error measures that suite.ts uses to bound a kernel's deviation from the reference.
import { type DType, isFloat, isQuantized } from "../../lib/graph/dtype.ts";
import type { TensorData } from "../../lib/graph/tensor.ts";
import { decode, generator, type OpCase } from "./harness.ts";

/** Replaces every float and quantized type of a case by f32, and converts its data to f32. */
export function widen(
  c: OpCase,
  data: readonly (TensorData | undefined)[],
): { case: OpCase; data: (TensorData | undefined)[] } {
  const wide = (dtype: DType) => isFloat(dtype) || isQuantized(dtype);
  const type = (dtype: DType): DType => (wide(dtype) ? "f32" : dtype);
  return {
    case: {
      ...c,
      inputs: c.inputs.map((o) => o && { ...o, dtype: type(o.dtype) }),
      outputs: c.outputs.map((o) => ({ ...o, dtype: type(o.dtype) })),
    },
    data: c.inputs.map((o, i) => (o && wide(o.dtype) ? new Float32Array(decode(o.dtype, data[i]!)) : data[i])),
  };
}

/**
 * The approximate number of sequential f32 roundings between an operand and the result: 4 for a sum and an exponential or two, 16 for a
 * chain of sums, exponentials and quotients. A square after a sum (activation 4) doubles the relative error, so it counts as 8.
 */
function roundings({ op, attributes }: OpCase): number {
  if (/attention|logprob|softmax|norm/.test(op)) return 16;
  return /^linear_/.test(op) && attributes?.activation === 4 ? 8 : 4;
}

/**
 * Models f32 rounding as a backward error (Higham 2002, chapter 1): moves each float operand randomly up or down by half an ulp per
 * rounding.
 */
export function jitter(c: OpCase, data: readonly (TensorData | undefined)[], seed: number): (TensorData | undefined)[] {
  const random = generator(seed);
  const size = roundings(c) * 2 ** -24;
  return data.map((d) => {
    if (!(d instanceof Float32Array)) return d;
    const moved = new Float32Array(d.length);
    for (let i = 0; i < d.length; i++) moved[i] = d[i]! * (random() < 0.5 ? 1 + size : 1 - size);
    return moved;
  });
}

/** The maximum difference; infinite if exactly one of two values is NaN. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>, skip?: (i: number) => boolean): number {
  let worst = 0;
  for (let i = 0; i < b.length; i++) {
    const left = a[i]!;
    const right = b[i]!;
    if (left === right || Object.is(left, right) || skip?.(i)) continue;
    const d = Math.abs(left - right);
    worst = Math.max(worst, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
  }
  return worst;
}

/** The largest finite magnitude, or 0 without finite elements. */
export function largest(a: ArrayLike<number>, skip?: (i: number) => boolean): number {
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const size = Math.abs(a[i]!);
    if (size > most && size < Number.POSITIVE_INFINITY && !skip?.(i)) most = size;
  }
  return most;
}
