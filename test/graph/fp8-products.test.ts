// linear with fp8, and its gradients, compared with a reference in double that is independent of the native code.
import { expect, test } from "vitest";
import { compile, gradients, input, linear, mul, openDevice, sum, type Value } from "../../lib/graph/index.ts";
import { generator, testDevice } from "../ops/harness.ts";

type Matrix = number[][];

/** The finite magnitudes of e4m3 in ascending order. The index of a value is its byte, so even bytes have an even last bit. */
const magnitudes = Array.from({ length: 127 }, (_, byte) => {
  const [exponent, mantissa] = [byte >> 3, byte & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
});

/** Rounds to the nearest value of e4m3. Ties go to the even byte. */
function toE4m3(x: number): number {
  let best = 0;
  for (let byte = 1; byte < magnitudes.length; byte++) {
    const [nearer, known] = [byte, best].map((i) => Math.abs(Math.abs(x) - magnitudes[i]!)) as [number, number];
    if (nearer < known || (nearer === known && byte % 2 === 0)) best = byte;
  }
  return Math.sign(x) * magnitudes[best]!;
}

/** Rounds x in blocks of `rows` × 128. A block is divided by the least power of two that makes all of its magnitudes 448 or less. */
function rounded(x: Matrix, rows: number): Matrix {
  const result = x.map((row) => row.slice());
  for (let row = 0; row < x.length; row += rows)
    for (let column = 0; column < x[0]!.length; column += 128) {
      const block = x.slice(row, row + rows).map((r) => r.slice(column, column + 128));
      const largest = Math.max(...block.flat().map(Math.abs));
      let scale = 2 ** -100;
      while (largest / scale > 448) scale *= 2;
      for (const [i, r] of block.entries())
        for (const [j, v] of r.entries()) result[row + i]![column + j] = toE4m3(v / scale) * scale;
    }
  return result;
}

const transposed = (x: Matrix): Matrix => x[0]!.map((_, j) => x.map((row) => row[j]!));

/** Returns a bᵀ of the rounded matrices a (m, k) and b (n, k), and the sums of the magnitudes of its terms. */
function product(a: Matrix, b: Matrix): { value: number[]; terms: number[] } {
  const [left, right] = [rounded(a, 1), rounded(b, 128)];
  const sums = (of: (term: number) => number) =>
    left.flatMap((x) => right.map((y) => x.reduce((s, v, k) => s + of(v * y[k]!), 0)));
  return { value: sums((term) => term), terms: sums(Math.abs) };
}

/** Numbers whose magnitudes differ by up to 2^12 between rows and between columns. */
function draw(rows: number, columns: number, seed: number): Matrix {
  const random = generator(seed);
  const slope = () => 2 ** Math.floor(random() * 12 - 6);
  const [ofRow, ofColumn] = [rows, columns].map((n) => Array.from({ length: n }, slope)) as [number[], number[]];
  return ofRow.map((r) => ofColumn.map((c) => Math.fround((random() * 2 - 1) * r * c)));
}
const flat = (x: Matrix) => Float32Array.from(x.flat());

/** Runs linear with fp8 over x, and the gradients of Σ dy · y. */
async function run(x: Matrix, w: Matrix, dy: Matrix, isTransposed: boolean) {
  const shape = (m: Matrix) => [m.length, m[0]!.length];
  const program = compile(() => {
    const [of, weight] = [input("x", "f32", shape(x)), input("w", "f32", shape(w))];
    const y = linear(of, weight, undefined, { transposed: isTransposed, fp8: true });
    const loss = sum(mul(y, input("dy", "f32", shape(dy))));
    const [dx, dw] = gradients(loss, [of, weight], input("seed", "f32", [1]));
    return { y, dx: dx!, dw: dw! };
  }).bind(openDevice({ device: testDevice }), new Map());
  try {
    const results = await program.run({ x: flat(x), w: flat(w), dy: flat(dy), seed: Float32Array.of(1) });
    return results as Record<"y" | "dx" | "dw", Float32Array>;
  } finally {
    program.dispose();
  }
}

test.each([false, true])(
  "rounds the operands of all three products, with a weight that is transposed: %s",
  async (isTransposed) => {
    const [rows, inputs, outputs] = [150, 133, 140];
    const [x, w, dy] = [draw(rows, inputs, 1), draw(outputs, inputs, 2), draw(rows, outputs, 3)];
    const got = await run(x, isTransposed ? transposed(w) : w, dy, isTransposed);
    const want = {
      y: product(x, w),
      dx: product(dy, transposed(w)),
      dw: isTransposed ? product(transposed(x), transposed(dy)) : product(transposed(dy), transposed(x)),
    };
    for (const name of ["y", "dx", "dw"] as const) {
      const { value, terms } = want[name];
      expect(got[name]).toHaveLength(value.length);
      // Products of e4m3 are exact in f32. A sum of at most 150 terms has an error of at most 150 · 2⁻²⁴ of their magnitudes.
      const worst = Math.max(...value.map((v, i) => Math.abs(got[name][i]! - v) / terms[i]!));
      expect(worst, name).toBeLessThanOrEqual(150 * 2 ** -24);
    }
  },
);

test("the gradient of a bias is the exact sum of dy's rows, because only products round", async () => {
  const dy = draw(40, 6, 4);
  const program = compile(() => {
    const bias = input("bias", "f32", [6]);
    const y = linear(input("x", "f32", [40, 5]), input("w", "f32", [6, 5]), bias, { fp8: true });
    const [db] = gradients(sum(mul(y, input("dy", "f32", [40, 6]))), [bias], input("seed", "f32", [1]));
    return { db: db! };
  }).bind(openDevice({ device: testDevice }), new Map());
  const given = { x: flat(draw(40, 5, 5)), w: flat(draw(6, 5, 6)), dy: flat(dy), bias: new Float32Array(6) };
  const { db } = await program.run({ ...given, seed: Float32Array.of(1) });
  for (const [j, column] of transposed(dy).entries()) {
    const terms = column.reduce((s, v) => s + Math.abs(v), 0);
    const exact = column.reduce((s, v) => s + v, 0);
    expect(Math.abs((db as Float32Array)[j]! - exact)).toBeLessThanOrEqual(40 * 2 ** -24 * terms);
  }
  program.dispose();
});

test.each([Number.POSITIVE_INFINITY, Number.NaN])("an element %s makes every result of its group NaN", async (bad) => {
  const [x, w, dy] = [draw(130, 140, 7), draw(9, 140, 8), draw(130, 9, 9)];
  x[129]![3] = bad;
  const { y, dx, dw } = await run(x, w, dy, false);
  const isBad = (m: Float32Array, columns: number) =>
    Array.from({ length: m.length / columns }, (_, i) => m.slice(i * columns, (i + 1) * columns).every(Number.isNaN));
  expect(isBad(y, 9)).toEqual(Array.from({ length: 130 }, (_, i) => i === 129));
  // x is the second operand of the weight's gradient. The bad element is in the block of its first 128 columns.
  const columns = isBad(
    Float32Array.from(transposed(Array.from({ length: 9 }, (_, i) => [...dw.slice(i * 140, (i + 1) * 140)])).flat()),
    9,
  );
  expect(columns).toEqual(Array.from({ length: 140 }, (_, j) => j < 128));
  expect(dx.every(Number.isFinite)).toBe(true);
});

test("a quantized weight, rowwise and activations cannot be combined with fp8", () => {
  const x = () => input("x", "f32", [2, 32]);
  const trace = (build: () => Value) => () => compile(() => ({ y: build() }));
  expect(trace(() => linear(x(), input("w", "q8_0", [4, 32]), undefined, { fp8: true }))).toThrow(
    /because of fp8, got q8_0/,
  );
  for (const more of [{ rowwise: true }, { activations: "int8" as const }])
    expect(trace(() => linear(x(), input("w", "f32", [4, 32]), undefined, { fp8: true, ...more }))).toThrow(
      /linear: fp8/,
    );
});
