// Weights that kernels keep in a form of their own beside the stored one: it must follow the tensor.
import { describe, expect, test } from "vitest";
import { compile, Dimension, input, linear, openDevice, Tensor, tensor } from "../../lib/graph/index.ts";
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

  test("a weight that is written again is packed again, in every program that reads it", async () => {
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

  test("it outlives the tensor for the programs that are bound to it", async () => {
    const w = await Tensor.from(device, "q8_0", [outputs, width], q8Blocks(1));
    const run = makeProgram(new Dimension("rows", 40)).bind(device, new Map([["w", w]]));
    const before = await run.run({ x });
    w.dispose();
    expect((await run.run({ x })).y).toEqual(before.y);
  });
});
