// Compilation checks symbolic dimensions at their bounds. Each run must repeat the checks for its own sizes, and no size may need more
// memory than was reserved. Otherwise the process would crash, the lane would hang, or a kernel would read out of bounds.
import { expect, test } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import {
  attention,
  cachedAttention,
  compile,
  concat,
  crossEntropy,
  Dimension,
  gradients,
  input,
  linear,
  openDevice,
  reshape,
  rmsNorm,
  sum,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";

const device = openDevice({ device: "cpu" });
const mismatch = expect.objectContaining({ code: "SHAPE_MISMATCH" });

test("treats two dimensions with equal name and bound as different", () => {
  const [a, b] = [new Dimension("rows", 8), new Dimension("rows", 8)];
  const of = (dim: Dimension | number) => input(`of ${dim === a ? "a" : "b"}`, "f32", [dim, 4]);
  expect(() => compile(() => ({ y: concat([of(a), of(b)]) }))).toThrow(mismatch);
  expect(() => compile(() => ({ y: reshape(of(a), [b, 4]) }))).toThrow(mismatch);
  const two = compile(() => ({ y: concat([of(a), of(a)]), z: reshape(of(a), [2, a, 2]) }));
  expect(two).toBeDefined();
});

test("rejects a run whose sizes do not fit together, though their bounds do", async () => {
  // Sizes 8 and 1 of two symbols with equal bounds. lib/graph cannot build such a sum, so use the binding.
  const program = new binding.NativeProgram({
    symbols: [8, 8],
    values: [0, 2, -1, 4, 0, 2, -2, 4, 0, 2, -1, 4],
    bound: [],
    inputs: [0, 1],
    outputs: [2],
    nodes: [{ op: "add", inputs: [0, 1], outputs: [2], attributes: [], origin: "" }],
  });
  const executable = new binding.NativeExecutable(program, [], device.lane);
  const run = async (rows: number, others: number) => {
    const y = new ArrayBuffer(16 * rows);
    const inputs = [new Float32Array(4 * rows).fill(1), new Float32Array(4 * others).fill(2)];
    await device.lane.run(executable, Int32Array.of(rows, others), inputs, [y], undefined, []);
    return [...new Float32Array(y)];
  };
  expect(await run(2, 2)).toEqual(Array(8).fill(3));
  await expect(run(8, 1)).rejects.toThrow(mismatch);
  await expect(run(8, 1)).rejects.toThrow(/add: shape of b: expected \(8, 4\) like a, got \(1, 4\)/);
  expect(await run(2, 2)).toEqual(Array(8).fill(3));
});

test.each([1.5, 2 ** 32, Number.NaN])("rejects a program with a size that is not a 32-bit integer: %d", (size) => {
  const program = { symbols: [size], values: [], bound: [], inputs: [], outputs: [], nodes: [] };
  expect(() => new binding.NativeProgram(program)).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("integers of 32 bits") }),
  );
});

test("rejects rows of zero elements instead of dividing by zero", async () => {
  const width = new Dimension("width", 8);
  const program = compile(() => ({
    y: rmsNorm(input("x", "f32", [2, width]), input("w", "f32", [width]), { eps: 1e-5 }).y,
  }));
  const executable = program.bind(device, new Map());
  const run = (n: number) => executable.run({ x: new Float32Array(2 * n).fill(1), w: new Float32Array(n).fill(1) });
  await expect(run(0)).rejects.toThrow(mismatch);
  expect((await run(3)).y).toHaveLength(6);
});

test("reserves enough memory if a run with fewer rows than the bound uses larger chunks", async () => {
  const [vocabulary, width, bound] = [16384, 8, 513]; // 513 rows are two chunks of 257 rows, 512 rows are one chunk
  const rows = new Dimension("rows", bound);
  const program = compile(() => {
    const h = input("h", "f32", [rows, width]);
    const w = tensor("w", "f32", [vocabulary, width]);
    const loss = crossEntropy(h, w, input("t", "i32", [rows]), input("weights", "f32", [rows]));
    const [dw] = gradients(loss, [w], input("one", "f32", [1]));
    return { loss, total: sum(dw!) };
  });
  const executable = program.bind(device, new Map([["w", Tensor.zeros(device, "f32", [vocabulary, width])]]));
  for (const n of [bound, bound - 1]) {
    const { loss, total } = await executable.run({
      h: new Float32Array(n * width).fill(1),
      t: new Int32Array(n),
      weights: new Float32Array(n).fill(1),
      one: Float32Array.of(1),
    });
    expect(loss[0]! / (n * Math.log(vocabulary))).toBeCloseTo(1, 4);
    expect(Math.abs(total[0]!)).toBeLessThan(1); // gradients of a softmax sum to 0
  }
});

test("supports attention over zero keys and its gradient", async () => {
  const program = compile(() => {
    const x = input("x", "f32", [0, 2, 8]);
    const w = tensor("w", "f32", [8]);
    const total = sum(attention({ q: rmsNorm(x, w, { eps: 1e-5 }).y, k: x, v: x }, { sequenceLength: 4 }));
    const [dw] = gradients(total, [w], input("one", "f32", [1]));
    return { total, dw: dw! };
  });
  const executable = program.bind(device, new Map([["w", Tensor.zeros(device, "f32", [8])]]));
  const { total, dw } = await executable.run({ x: new Float32Array(0), one: Float32Array.of(1) });
  expect([...total, ...dw]).toEqual(Array(9).fill(0));
});

test("rejects attention without heads", () => {
  const q = () => input("q", "f32", [32, 0, 8]);
  const cache = () => tensor("cache", "bf16", [1, 2, 64, 8]);
  const segments = () => input("segments", "i32", [1, 4]);
  expect(() =>
    compile(() => ({ o: cachedAttention({ q: q(), cacheK: cache(), cacheV: cache(), segments: segments() }) })),
  ).toThrow(mismatch);
  const k = () => input("k", "f32", [32, 2, 8]);
  expect(() => compile(() => ({ o: attention({ q: q(), k: k(), v: k() }, { sequenceLength: 4 }) }))).toThrow(mismatch);
});

test("gives a zero gradient through a quantized matrix with zero rows", async () => {
  const program = compile(() => {
    const x = input("x", "f32", [4, 32]);
    const norm = tensor("norm", "f32", [32]);
    const total = sum(linear(rmsNorm(x, norm, { eps: 1e-5 }).y, tensor("w", "q8_0", [0, 32])));
    const [dn] = gradients(total, [norm], input("one", "f32", [1]));
    return { total, dn: dn! };
  });
  const tensors = new Map([
    ["norm", Tensor.zeros(device, "f32", [32])],
    ["w", Tensor.zeros(device, "q8_0", [0, 32])],
  ]);
  const { total, dn } = await program.bind(device, tensors).run({ x: new Float32Array(128), one: Float32Array.of(1) });
  expect([...total, ...dn]).toEqual(Array(33).fill(0));
});

test("attends with a window over a ring cache, at positions beyond its capacity", async () => {
  const [heads, width, capacity, rows] = [32, 64, 576, 16];
  const shape = [1, heads, capacity, width];
  const program = compile(() => {
    const q = input("q", "f32", [rows, heads, width]);
    const cache = (name: string) => tensor(name, "f32", shape);
    const segments = input("segments", "i32", [1, 4]);
    return { o: cachedAttention({ q, cacheK: cache("k"), cacheV: cache("v"), segments }, { window: 512, ring: 512 }) };
  });
  const ones = new Float32Array(heads * capacity * width).fill(1);
  const tensors = new Map([
    ["k", Tensor.zeros(device, "f32", shape)],
    ["v", await Tensor.from(device, "f32", shape, ones)],
  ]);
  const executable = program.bind(device, tensors);
  // The keys 511 to 1037 span three blocks of 512: the last key of one, all of the next, and the first 14 of
  // a third.
  const segments = Int32Array.of(0, rows, 0, 1022);
  const { o } = await executable.run({ q: new Float32Array(rows * heads * width), segments });
  expect((o as Float32Array).findIndex((x) => Math.abs(x - 1) > 1e-5)).toBe(-1);
});
