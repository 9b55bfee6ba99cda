// Kernels keep packed copies of weights, which must follow changes of the tensor.
import { describe, expect, test } from "vitest";
import { BLOCK_TYPES, type QuantizedDType } from "../../lib/graph/dtype.ts";
import { compile, Dimension, deviceInfo, input, linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";
import { profile } from "../../lib/graph/profile.ts";
import { generator } from "../ops/harness.ts";

const device = openDevice();
const [width, outputs] = [256, 21];

/** Blocks of random integers with a scale of 1/64. */
function q8Blocks(seed: number): Uint8Array {
  const random = generator(seed);
  const bytes = Uint8Array.from({ length: (outputs * width * 34) / 32 }, () => random() * 256);
  for (let b = 0; b < bytes.length; b += 34) [bytes[b], bytes[b + 1]] = [0x00, 0x24];
  return bytes;
}

const makeProgram = (rows: Dimension) =>
  compile(() => ({
    y: linear(input("x", "f32", [rows, width]), tensor("w", "q8_0", [outputs, width]), undefined, {
      activations: "int8",
    }),
  }));

describe("packed weights", () => {
  const random = generator(3);
  const x = Float32Array.from({ length: 40 * width }, () => random() - 0.5);

  test("are packed again after a write, in every program that reads the tensor", async () => {
    const w = await Tensor.from(device, "q8_0", [outputs, width], q8Blocks(1));
    const programs = [1, 40].map((most) => makeProgram(new Dimension("rows", most)).bind(device, new Map([["w", w]])));
    const first = await Promise.all(programs.map((p) => p.run({ x: x.subarray(0, width) })));
    expect(first[0]!.y).toEqual(first[1]!.y);
    await w.write(q8Blocks(2));
    const second = await Promise.all(programs.map((p) => p.run({ x: x.subarray(0, width) })));
    const fresh = await Tensor.from(device, "q8_0", [outputs, width], q8Blocks(2));
    const expected = await makeProgram(new Dimension("rows", 1))
      .bind(device, new Map([["w", fresh]]))
      .run({ x: x.subarray(0, width) });
    for (const { y } of second) expect(y).toEqual(expected.y);
    expect(second[0]!.y).not.toEqual(first[0]!.y);
  });

  // 1 to 30 rows use every tile form, and 50 rows without rowwise use AMX tiles. 200 outputs exceed the panels that a thread packs
  // at a time. With long rows, a task has only two panels.
  test.each<[QuantizedDType, number]>([
    ["q8_0", 416],
    ["q8_0", 4128],
    ["q4_0", 416],
    ["q4_0", 8032],
    ["q5_0", 416],
    ["q4_k", 512],
    ["q6_k", 512],
  ])(
    "give the bits of the unpacked first run, and with rowwise a row's bits do not depend on other rows: %s, %i elements",
    async (type, k) => {
      const { elements, bytes } = BLOCK_TYPES[type];
      // Bytes below 44 make small positive f16 scales at any position. Integers of q8_0 have both signs.
      const mostByte = (i: number) => (type === "q8_0" && i % bytes >= 2 ? 256 : 44);
      const blocks = Uint8Array.from({ length: (200 * k * bytes) / elements }, (_, i) => random() * mostByte(i));
      const rows = new Dimension("rows", 50);
      const programs = [true, false].map((rowwise) =>
        compile(() => ({
          y: linear(input("x", "f32", [rows, k]), tensor("w", type, [200, k]), undefined, {
            activations: "int8",
            rowwise,
          }),
        })),
      );
      const everyRow = Float32Array.from({ length: 50 * k }, () => random() - 0.5);
      let most: number[] | undefined;
      const counts = [30, 24, 23, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
      for (const [count, rowwise] of [...counts.map((n) => [n, true] as const), [50, false] as const]) {
        const w = await Tensor.from(device, type, [200, k], blocks);
        const bound = programs[rowwise ? 0 : 1]!.bind(device, new Map([["w", w]]));
        const data = { x: everyRow.subarray(0, count * k) };
        const [first, second, third] = [await bound.run(data), await bound.run(data), await bound.run(data)];
        expect(first.y!.some((v) => Math.abs(v) > 1e-3)).toBe(true);
        expect(second.y).toEqual(first.y);
        expect(third.y).toEqual(first.y);
        most ??= [...first.y!];
        if (rowwise) expect([...first.y!]).toEqual(most.slice(0, count * 200));
        bound.dispose();
        w.dispose();
      }
    },
  );

  // Kernels without an int8 dot product accumulate in 16 bits. A type's largest integers limit how many products they can add there.
  test.each<[QuantizedDType, number, Record<number, number>]>([
    ["q8_0", 0x80, { 0: 0x00, 1: 0x24 }],
    ["q4_0", 0xff, { 0: 0x00, 1: 0x24 }],
    ["q5_0", 0xff, { 0: 0x00, 1: 0x24 }],
    ["q4_k", 0xff, { 0: 0x00, 1: 0x24, 2: 0x00, 3: 0x20 }],
    [
      "q6_k",
      0xff,
      { ...Object.fromEntries(Array.from({ length: 16 }, (_, i) => [192 + i, 0x7f])), 208: 0x00, 209: 0x24 },
    ],
  ])("do not overflow for the largest integers and activations: %s", async (type, filling, scales) => {
    const { elements, bytes } = BLOCK_TYPES[type];
    const blocks = new Uint8Array((outputs * 512 * bytes) / elements).fill(filling);
    for (let b = 0; b < blocks.length; b += bytes)
      for (const [at, byte] of Object.entries(scales)) blocks[b + Number(at)] = byte;
    const w = await Tensor.from(device, type, [outputs, 512], blocks);
    for (const rows of [1, 2, 4, 24]) {
      const signed = Float32Array.from({ length: rows * 512 }, (_, i) => ((i / 512) & 1 ? -1 : 1));
      const results = async (activations: "int8" | "f32") => {
        const program = compile(() => ({
          // Rowwise, because products of many rows may use bf16.
          y: linear(input("x", "f32", [rows, 512]), tensor("w", type, [outputs, 512]), undefined, {
            activations,
            rowwise: true,
          }),
        }));
        const bound = program.bind(device, new Map([["w", w]]));
        const runs = [await bound.run({ x: signed }), await bound.run({ x: signed })];
        bound.dispose();
        return runs.map((run) => [...run.y!]);
      };
      const [exact] = await results("f32");
      for (const run of await results("int8"))
        for (const [i, v] of run.entries()) expect(Math.abs(v - exact![i]!)).toBeLessThan(1e-5 * Math.abs(exact![i]!));
    }
    w.dispose();
  });

  // The portable set and NEON have no packed form of quantized weights.
  test.skipIf(/^(baseline|neon)/.test(deviceInfo().cpu.isa))(
    "are packed in the first runs of new executables, because each call of a model may have new ones",
    async () => {
      const [rows, columns] = [2048, 4096];
      const blocks = new Uint8Array((rows * columns * 34) / 32);
      const w = await Tensor.from(device, "q8_0", [rows, columns], blocks);
      const program = compile(() => ({
        y: linear(input("x", "f32", [1, columns]), tensor("w", "q8_0", [rows, columns]), undefined, {
          activations: "int8",
        }),
      }));
      let packed = 0;
      for (let call = 0; call < 1000 && packed === 0; call++) {
        const bound = program.bind(device, new Map([["w", w]]));
        const found = await profile(() => bound.run({ x: new Float32Array(columns) }));
        packed = found.profile.operations.filter(({ op }) => op === "packing of weights").length;
        bound.dispose();
      }
      expect(packed).toBeGreaterThan(0);
      w.dispose();
    },
  );

  test("give the same results in a bound program after the tensor is disposed", async () => {
    const w = await Tensor.from(device, "q8_0", [outputs, width], q8Blocks(1));
    const run = makeProgram(new Dimension("rows", 40)).bind(device, new Map([["w", w]]));
    const before = await run.run({ x });
    w.dispose();
    expect((await run.run({ x })).y).toEqual(before.y);
  });
});
