// Products of one operand with several weights run as one loop, with the same bits as separate products.
import { describe, expect, test } from "vitest";
import {
  accumulate,
  add,
  compile,
  Dimension,
  input,
  linear,
  openDevice,
  scale,
  Tensor,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { fuse } from "../../lib/graph/passes/fuse.ts";
import { record } from "../../lib/graph/trace.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { temporaryFile } from "../formats/helpers.ts";
import { generator } from "../ops/harness.ts";

const device = openDevice({ threads: 2 });
const width = 256;
// The outputs of each product. There are more products than one group can hold, and a wide one is several tasks per thread.
const widths = [21, 640, 1300, 1100, 64, 1, 300, 1050, 48, 33, 16, 80, 7];
const random = generator(7);

function q8Blocks(rows: number): Uint8Array {
  const bytes = Uint8Array.from({ length: (rows * width * 34) / 32 }, () => random() * 256);
  for (let b = 0; b < bytes.length; b += 34) [bytes[b], bytes[b + 1]] = [0x00, 0x24];
  return bytes;
}
const floats = (n: number) => Float32Array.from({ length: n }, () => random() - 0.5);
const bytesOf = (data: Uint8Array | Uint16Array | Float32Array) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const bf16Bits = (n: number) => Uint16Array.from(new Uint32Array(floats(n).buffer), (bits) => bits >>> 16);

async function weightsOf(type: "f32" | "bf16" | "q8_0", inFile: boolean) {
  const data = { f32: floats, bf16: bf16Bits, q8_0: (n: number) => q8Blocks(n / width) }[type];
  const tensors = new Map<string, Tensor>();
  for (const [i, n] of widths.entries())
    tensors.set(
      `w${i}`,
      inFile
        ? Tensor.mapped(device, type, [n, width], mapFile(temporaryFile(bytesOf(data(n * width)))), 0)
        : await Tensor.from(device, type, [n, width], data(n * width)),
    );
  return tensors;
}

describe.each([
  ["f32", "f32", false],
  ["bf16", "int8", false],
  ["bf16", "int8", true],
  ["q8_0", "int8", false],
] as const)("weights in %s, activations in %s, in a file: %s", (type, activations, inFile) => {
  test.each([1, 3, 6, 8, 11, 16, 20, 70])("give the same bits grouped and alone for %d rows", async (rows) => {
    const tensors = await weightsOf(type, inFile);
    const x = floats(rows * width);
    const product = (i: number): Value =>
      linear(
        input("x", "f32", [new Dimension("rows", rows), width]),
        tensor(`w${i}`, type, [widths[i]!, width]),
        undefined,
        { activations },
      );
    const alone: Float32Array[] = [];
    for (const i of widths.keys())
      alone.push(
        (
          await compile(() => ({ y: product(i) }))
            .bind(device, tensors)
            .run({ x })
        ).y as Float32Array,
      );
    const together = compile(() => {
      const values = input("x", "f32", [new Dimension("rows", rows), width]);
      return Object.fromEntries(
        widths.map((n, i) => [`y${i}`, linear(values, tensor(`w${i}`, type, [n, width]), undefined, { activations })]),
      );
    });
    const bound = together.bind(device, tensors);
    for (const outputs of [await bound.run({ x }), await bound.run({ x })])
      for (const i of widths.keys()) expect(outputs[`y${i}`]).toEqual(alone[i]);
    for (const t of tensors.values()) t.dispose();
  });
});

test.each([5, 31, 40, 70])("products of %d rows give the same bits on six threads as on two", async (rows) => {
  const x = floats(rows * width);
  const data = widths.map((n) => bf16Bits(n * width));
  const of = async (threads: number) => {
    const own = openDevice({ threads });
    const tensors = new Map<string, Tensor>();
    for (const [i, n] of widths.entries()) tensors.set(`w${i}`, await Tensor.from(own, "bf16", [n, width], data[i]!));
    const program = compile(() => {
      const values = input("x", "f32", [rows, width]);
      return Object.fromEntries(
        widths.map((n, i) => [
          `y${i}`,
          linear(values, tensor(`w${i}`, "bf16", [n, width]), undefined, { activations: "int8" }),
        ]),
      );
    });
    return program.bind(own, tensors).run({ x });
  };
  expect(await of(6)).toEqual(await of(2));
});

// Eight rows of 2600 elements, or two of 10300, exceed the L1 cache, so they are processed in parts.
test.each([
  [256, 40],
  [2600, 16],
  [10_300, 3],
])("with bf16 weights, rows of %d elements give the same bits in a batch as alone", async (k, most) => {
  const w = await Tensor.from(device, "bf16", [67, k], bf16Bits(67 * k));
  const bound = compile(() => ({
    y: linear(input("x", "f32", [new Dimension("rows", most), k]), tensor("w", "bf16", [67, k]), undefined, {
      rowwise: true,
      activations: "int8",
    }),
  })).bind(device, new Map([["w", w]]));
  const x = floats(most * k);
  const alone = [];
  for (let i = 0; i < most; i++) alone.push(...(await bound.run({ x: x.subarray(i * k, (i + 1) * k) })).y!);
  for (let rows = 2; rows <= most; rows++)
    expect([...(await bound.run({ x: x.subarray(0, rows * k) })).y!]).toEqual(alone.slice(0, rows * 67));
  bound.dispose();
  w.dispose();
});

describe("the order of products", () => {
  const shape = [8, 8] as const;
  const ops = (build: () => Record<string, Value>) => {
    const { trace, result } = record(build);
    return fuse(trace.nodes, Object.values(result)).map((n) => n.op);
  };

  test("places products of one operand next to each other", () => {
    expect(
      ops(() => {
        const x = scale(input("x", "f32", shape), 2);
        const a = scale(linear(x, tensor("a", "f32", shape)), 3);
        const b = linear(x, tensor("b", "f32", shape));
        const c = linear(a, tensor("c", "f32", shape));
        return { y: add(add(b, c), linear(x, tensor("d", "f32", shape))) };
      }),
    ).toEqual(["affine", "linear", "linear", "linear", "affine", "linear", "add", "add"]);
  });

  test("does not move a product whose weight is written or computed in between", () => {
    expect(
      ops(() => {
        const x = input("x", "f32", shape);
        const w = tensor("w", "f32", shape);
        const first = linear(x, w);
        accumulate(w, first, input("keep", "f32", [1]));
        return { y: add(linear(x, w), linear(x, scale(w, 2))) };
      }),
    ).toEqual(["linear", "accumulate", "linear", "affine", "linear", "add"]);
  });
});
