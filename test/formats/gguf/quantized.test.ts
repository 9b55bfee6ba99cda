// Quantized blocks decode to the values of an independent decoder (scripts/golden/quantized.py), and are written with bounded error.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { GGML_TYPES } from "../../../lib/formats/gguf/gguf-types.ts";
import { castBytes } from "../../../lib/formats/native-cast.ts";
import { pieceOf } from "../../../lib/formats/weight-dtype.ts";
import { BLOCK_TYPES, type NumberDType, type QuantizedDType } from "../../../lib/graph/dtype.ts";
import { generator } from "../../ops/harness.ts";
import { expectError } from "../helpers.ts";

const golden: Record<string, { bytes: string; values: number[] }> = JSON.parse(
  readFileSync(new URL("../../golden/quantized.json", import.meta.url), "utf8"),
);
const types = Object.keys(BLOCK_TYPES) as QuantizedDType[];

function floats(bytes: Uint8Array, from: NumberDType): Float32Array {
  return new Float32Array(castBytes(bytes, from, "f32", "test").buffer);
}
const bytesOf = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

test("TypeScript and native code list the same block types, and GGUF knows each", () => {
  expect(binding.blockTypes().map(({ name, elements, bytes }) => ({ name, elements, bytes }))).toEqual(
    Object.entries(BLOCK_TYPES).map(([name, { elements, bytes }]) => ({ name, elements, bytes })),
  );
  for (const name of types)
    expect(GGML_TYPES.get(BLOCK_TYPES[name].ggml)).toMatchObject({ name: name.toUpperCase(), dtype: name });
});

describe.each(types)("%s", (dtype) => {
  test("decodes to the values of the independent decoder", () => {
    const { bytes, values } = golden[dtype]!;
    const got = floats(Buffer.from(bytes, "hex"), dtype);
    expect(got).toHaveLength(values.length);
    // A value is a product plus a minimum, each rounded to f32. The terms may cancel, so the bound is relative to the largest value.
    const bound = 2 ** -23 * Math.max(...values.map(Math.abs));
    for (const [i, value] of values.entries())
      expect(Math.abs(got[i]! - value), `element ${i}`).toBeLessThanOrEqual(bound);
  });
});

/** Writes and reads values. Returns the values read, and their relative root mean square error. */
function roundTrip(dtype: QuantizedDType, values: Float32Array): { error: number; again: Float32Array } {
  const again = floats(castBytes(bytesOf(values), "f32", dtype, "test"), dtype);
  const square = (f: (i: number) => number) => values.reduce((sum, _, i) => sum + f(i) ** 2, 0);
  return { error: Math.sqrt(square((i) => again[i]! - values[i]!) / square((i) => values[i]!)), again };
}

function normals(count: number, seed: number): Float32Array {
  const random = generator(seed);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return radius * Math.cos(2 * Math.PI * random());
  });
}

/**
 * For each writable type, the range of a group of normally distributed values, and the number of steps in it. The expected extremes are
 * ±2.07 for 32 values and ±1.77 for 16, and the ranges leave room for rounded scales.
 */
const writable: Partial<Record<QuantizedDType, { range: number; steps: number }>> = {
  q8_0: { range: 2.2, steps: 127 },
  q4_0: { range: 2.2, steps: 8 },
  q5_0: { range: 2.2, steps: 16 },
  q4_k: { range: 2 * 2.07, steps: 15 },
  q6_k: { range: 1.8, steps: 32 },
};

test("the tests cover exactly the writable types", () => {
  expect(binding.blockTypes().flatMap(({ name, writable: w }) => (w ? [name] : []))).toEqual(
    types.filter((t) => t in writable),
  );
});

const writing = Object.entries(writable).map(([dtype, sizes]) => ({ dtype: dtype as QuantizedDType, ...sizes }));
describe.each(writing)("writing $dtype", ({ dtype, range, steps }) => {
  test("keeps normally distributed values within the error of uniform rounding, step/√12", () => {
    const { error } = roundTrip(dtype, normals(64 * 256, 3));
    const bound = range / steps / Math.sqrt(12);
    expect(error).toBeLessThanOrEqual(1.1 * bound);
    expect(error).toBeGreaterThan(0.3 * bound);
  });

  test("is idempotent", () => {
    const { again } = roundTrip(dtype, normals(64 * 256, 4));
    const { again: twice } = roundTrip(dtype, again);
    // The signs of zeros may differ.
    expect(twice.findIndex((v, i) => v !== again[i])).toBe(-1);
  });

  test("supports zeros, and tiny, large and one-sided values", () => {
    expect(roundTrip(dtype, new Float32Array(256)).again).toEqual(new Float32Array(256));
    const tiny = roundTrip(dtype, new Float32Array(256).fill(1e-12)).again;
    for (const v of tiny) expect(Math.abs(v)).toBeLessThan(1e-7);
    const large = roundTrip(dtype, new Float32Array(256).fill(4e5)).again;
    // Equal values have the error of the scale, which is stored in f16.
    for (const v of large) expect(Math.abs(v / 4e5 - 1)).toBeLessThan(2 ** -10);
    const positive = normals(256, 5).map((v) => 3 + 0.1 * v);
    for (const [i, v] of roundTrip(dtype, positive).again.entries())
      expect(Math.abs(v - positive[i]!)).toBeLessThan(Math.max(...positive) / steps);
  });

  test("rejects values out of the range of scales", async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
      const values = new Float32Array(256);
      values[77] = bad;
      await expectError(() => castBytes(bytesOf(values), "f32", dtype, "test"), "NUMERICAL", /quantize: expected/);
    }
  });

  test("gives the same result from bf16 as from equal f32 values", () => {
    const bf16 = castBytes(bytesOf(normals(1024, 6)), "f32", "bf16", "test");
    const direct = castBytes(bf16, "bf16", dtype, "test");
    expect(direct).toEqual(castBytes(castBytes(bf16, "bf16", "f32", "test"), "f32", dtype, "test"));
  });
});

test.each(["q4_k", "q6_k"] as const)("writing %s keeps blocks of small values instead of writing zeros", (dtype) => {
  // A block stores its scales as integer multiples of a unit, which is an f16 number. Here the exact unit would round to zero.
  const small = normals(256, 7).map((v) => 1e-5 * v);
  expect(roundTrip(dtype, small).error).toBeLessThan(0.2);
});

test("rejects writing read-only types and partial blocks", async () => {
  await expectError(() => castBytes(new Uint8Array(1024), "f32", "q3_k", "test"), "UNSUPPORTED", /q3_k/);
  await expectError(() => castBytes(new Uint8Array(40), "f32", "q8_0", "test"), "INVALID_ARGUMENT", /multiple of 32/);
  await expectError(() => castBytes(new Uint8Array(40), "q8_0", "f32", "test"), "INVALID_ARGUMENT", /multiple of 34/);
  await expectError(() => castBytes(new Uint8Array(0), 99 as never, "f32", "test"), "INVALID_ARGUMENT", /number/);
  expect(pieceOf("q4_k")).toMatchObject({ elements: 256, bytes: 144 });
});
