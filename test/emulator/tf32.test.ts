// Products of f32 round their operands to tf32 only if the caller permits it. Their error is then about that of tf32.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { compile, Device, Dimension, input, linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";
import { maxDifference } from "../helpers/max-difference.ts";

const [width, outputs, most] = [140, 76, 150];

/** Rounds to 10 fraction bits, to nearest, ties away from zero. */
function toTf32(values: Float32Array): Float32Array {
  const bits = new Uint32Array(values.slice().buffer);
  return new Float32Array(bits.map((u) => ((u + 0x1000) & ~0x1fff) >>> 0).buffer);
}
/** Returns random values in [-1, 1) that need all 24 bits of f32. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed + 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
function product(x: Float32Array, w: Float32Array, rows: number): Float64Array {
  const y = new Float64Array(rows * outputs);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < outputs; j++)
      for (let k = 0; k < width; k++) y[i * outputs + j]! += x[i * width + k]! * w[j * width + k]!;
  return y;
}

beforeAll(() => void vi.stubEnv("HEDDLE_EMULATE_CUDA", "1"));
afterAll(() => void vi.unstubAllEnvs());

test.each([150, 20])("a product of %i rows has about tf32's error, and only if tf32 is allowed", async (rows) => {
  const w = numbers(outputs * width, 3);
  const run = async (device: Device, x: Float32Array) => {
    const program = compile(() => {
      const rowsOf = input("x", "f32", [new Dimension("rows", most), width]);
      return { y: linear(rowsOf, tensor("w", "f32", [outputs, width])) };
    });
    const bound = await program.bind(device, new Map([["w", await Tensor.from(device, "f32", [outputs, width], w)]]));
    return (await bound.run({ x })).y as Float32Array;
  };
  const x = numbers(rows * width, 7);
  const truth = product(x, w, rows);
  const rounded = maxDifference(product(toTf32(x), toTf32(w), rows), truth);
  const largest = truth.reduce((worst, v) => Math.max(worst, Math.abs(v)), 0);
  const allowing = new Device(1, 0, true);
  expect(allowing.allowTf32).toBe(true);
  const got = await run(allowing, x);
  // The tolerance is twice the error of an exact product of rounded operands, as in the op cases. The lower bound shows that the operands
  // were rounded.
  expect(maxDifference(got, truth)).toBeLessThanOrEqual(2 * rounded + 2 ** -21 * largest);
  expect(maxDifference(got, truth)).toBeGreaterThan(rounded / 2);
  expect(maxDifference(await run(new Device(1, 0), x), truth)).toBeLessThan(rounded / 16);
});

test("devices with and without allowTf32 are separate", () => {
  const [plain, allowing] = [openDevice({ device: "cuda" }), openDevice({ device: "cuda", allowTf32: true })];
  expect([plain.allowTf32, allowing.allowTf32]).toEqual([false, true]);
  expect(openDevice({ device: "cuda", allowTf32: true })).toBe(allowing);
  vi.stubEnv("HEDDLE_ALLOW_TF32", "1");
  expect(openDevice({ device: "cuda:0" })).toBe(allowing);
  expect(() => openDevice({ allowTf32: 1 as never })).toThrow("allowTf32: expected true or false, got 1");
});
