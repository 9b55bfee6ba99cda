// Activations for quantized weights are rounded in groups. A group's largest magnitude is divided into 127 or 126 steps, whichever has the
// smaller error (native/ops/quant.h). This holds for few and many rows, and for stored and packed weights.
import { describe, expect, test } from "vitest";
import {
  compile,
  Dimension,
  type Executable,
  input,
  linear,
  openDevice,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { mapFile } from "../../lib/io/mapped-file.ts";
import { temporaryFile } from "../formats/helpers.ts";
import { generator } from "../ops/harness.ts";

const [outputs, inputs] = [48, 96];
const random = generator(5);
const weights = Int8Array.from({ length: outputs * inputs }, () => Math.floor(random() * 255) - 127);
/** Blocks of 32 integers with an f16 scale of 1. */
const blocks = Uint8Array.from({ length: (outputs * inputs * 34) / 32 }, (_, i) => {
  const [block, at] = [Math.floor(i / 34), i % 34];
  return at === 0 ? 0 : at === 1 ? 0x3c : weights[block * 32 + at - 2]!;
});

const exact = (x: Float32Array) =>
  Float64Array.from({ length: (x.length / inputs) * outputs }, (_, at) => {
    let sum = 0;
    const [row, output] = [Math.floor(at / outputs), at % outputs];
    for (let k = 0; k < inputs; k++) sum += x[row * inputs + k]! * weights[output * inputs + k]!;
    return sum;
  });

/** Products of x from three runs. The first has no packed weights yet. */
async function products(rows: number, x: Float32Array): Promise<Float32Array[]> {
  const device = await openDevice();
  using w = Tensor.mapped(device, "q8_0", [outputs, inputs], mapFile(temporaryFile(blocks)), 0);
  const program = compile(() => {
    const rowCount = new Dimension("rows", rows);
    return {
      y: linear(input("x", "f32", [rowCount, inputs]), tensor("w", "q8_0", [outputs, inputs]), undefined, {
        activations: "int8",
      }),
    };
  });
  const executable: Executable = program.bind(device, new Map([["w", w]]));
  const all: Float32Array[] = [];
  for (let run = 0; run < 3; run++) all.push(Float32Array.from((await executable.run({ x })).y as Float32Array));
  executable.dispose();
  return all;
}

describe.each([1, 2, 7, 40])("rounding of activations for %d rows", (rows) => {
  test.each([127, 126])("is exact for integers up to %d", async (largest) => {
    // Every group contains its largest magnitude, at varying positions and signs.
    const x = Float32Array.from({ length: rows * inputs }, (_, i) =>
      i % 32 === (i >> 5) % 32 ? (i & 64 ? largest : -largest) : Math.round((random() * 2 - 1) * largest),
    );
    const wanted = exact(x);
    for (const y of await products(rows, x))
      for (const [i, v] of y.entries()) expect(Math.abs(v - wanted[i]!), `${i}`).toBeLessThan(1e-3);
  });

  test("has the same error with packed weights, and for 40 rows a smaller one than rounding to 127 steps", async () => {
    const x = Float32Array.from({ length: rows * inputs }, () => random() + random() + random() - 1.5);
    const with127Steps = Float32Array.from(x, (v, i) => {
      const group = x.subarray(i - (i % 32), i - (i % 32) + 32);
      const step = group.reduce((most, w) => Math.max(most, Math.abs(w)), 0) / 127;
      return Math.round(v / step) * step;
    });
    const wanted = exact(x);
    const square = (y: ArrayLike<number>) => Array.from(y).reduce((sum, v, i) => sum + (v - wanted[i]!) ** 2, 0);
    const [first, ...later] = await products(rows, x);
    for (const y of later) expect(square(y) / square(first!)).toBeCloseTo(1, 3);
    if (rows >= 40) expect(square(first!)).toBeLessThan(0.97 * square(exact(with127Steps)));
  });
});
