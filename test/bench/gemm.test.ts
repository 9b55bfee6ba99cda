// The programs of the gemm suite compute the products that they are timed for.
import { expect, expectTypeOf, test } from "vitest";
import { filled } from "../../lib/bench/ceilings.ts";
import { chain, fewRows, operands, product } from "../../lib/bench/suites/gemm.ts";
import { linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";

test.each(["NT", "NN", "TN"] as const)("adds up the products of several matrices in layout %s", async (layout) => {
  const device = openDevice({ device: "cpu" });
  const rowOf = async (count: number) => {
    const tensors = new Map<string, Tensor>();
    for (const [name, shape] of Object.entries(operands(layout, 3, 5, 4, count)))
      tensors.set(name, await filled(device, "f32", shape));
    const executable = product(layout, "f32", 3, 5, 4, count).bind(device, tensors);
    const { row } = await executable.run({ row: Int32Array.of(1) });
    executable.dispose();
    for (const t of tensors.values()) t.dispose();
    return [...(row as Float32Array)];
  };
  const one = await rowOf(1);
  expect(one.some((value) => value !== 0)).toBe(true);
  const three = await rowOf(3);
  for (const [i, value] of three.entries()) expect(value).toBeCloseTo(3 * one[i]!, 5);
});

test("fills tensors of f32 and bf16, and no other type", async () => {
  expectTypeOf<Parameters<typeof filled>[1]>().toEqualTypeOf<"f32" | "bf16">();
  const device = openDevice({ device: "cpu" });
  const [single, half] = await Promise.all((["f32", "bf16"] as const).map((dtype) => filled(device, dtype, [2, 1500])));
  const values = (await single!.read()) as Float32Array;
  expect(Math.max(...values.map(Math.abs))).toBe(1);
  expect(await half!.read()).toEqual(new Uint16Array(new Uint32Array(values.buffer).map((bits) => bits >>> 16)));
  for (const t of [single!, half!]) t.dispose();
});

test("measures products of few rows on a GPU with more weights than its cache holds", () => {
  // An H200 has 50 MB of cache, a B200 126 MB. Weights of 4 bits are the smallest.
  for (const bytes of [4096 * 4096 * 2, 4096 * 4096, (4096 * 4096 * 4.5) / 8]) {
    const { few, count } = fewRows({ kind: "cuda" }, 16, bytes);
    expect(few).toBe(true);
    expect(count * bytes).toBeGreaterThan(4 * 126e6);
  }
  expect(fewRows({ kind: "cpu" }, 16, 1).count).toBe(1);
  expect(fewRows({ kind: "cuda" }, 64, 1)).toEqual({ few: false, count: 1 });
  expect(fewRows({ kind: "cuda" }, 16, Infinity)).toEqual({ few: true, count: 1 });
});

test("a chain of products multiplies with every weight in turn", async () => {
  const device = openDevice({ device: "cpu" });
  const weights = [Float32Array.of(1, 2, 3, 4), Float32Array.of(0, 1, 1, 1), Float32Array.of(2, 0, 0, 3)];
  const tensors = new Map([["x", await Tensor.from(device, "f32", [1, 2], Float32Array.of(1, -1))]]);
  for (const [i, w] of weights.entries()) tensors.set(`w${i}`, await Tensor.from(device, "f32", [2, 2], w));
  const executable = chain([1, 2], "f32", 3, (x, name) => linear(x, tensor(name, "f32", [2, 2]))).bind(device, tensors);
  const { row } = await executable.run({ row: Int32Array.of(0) });
  // [1, -1] becomes [-1, -1], then [-1, -2], then [-2, -6].
  expect(row).toEqual(Float32Array.of(-2, -6));
  executable.dispose();
  for (const t of tensors.values()) t.dispose();
});
