// Loops are split over threads. The operands of products are packed per thread or jointly. Results must not depend on the number of
// threads or tasks, or on threads that start late.
import { describe, expect, test } from "vitest";
import {
  add,
  assign,
  cast,
  compile,
  type FloatDType,
  input,
  linear,
  openDevice,
  Tensor,
  tensor,
} from "../../lib/graph/index.ts";
import { generator } from "../ops/harness.ts";

const random = generator(11);
const floats = (n: number) => Float32Array.from({ length: n }, () => random() - 0.5);
const counts = [2, 3, 4, 5, 9]; // up to four threads pack separately
const hash = (bits: Float32Array) => {
  let h = 0x811c9dc5;
  for (const v of new Uint32Array(bits.buffer, bits.byteOffset, bits.length)) h = Math.imul(h ^ v, 0x01000193) >>> 0;
  return h;
};

/** (rows, columns, k): more rows than columns and vice versa, chunks of rows and of columns, several steps along k. */
const shapes = [
  [100, 3, 40],
  [90, 70, 33],
  [300, 150, 300],
  [150, 600, 130],
  [1500, 130, 70],
  [70, 2200, 66],
  [200, 260, 1100],
] as const;

describe.each<FloatDType>(["f32", "bf16"])("%s", (type) => {
  test.each(shapes)("a %d × %d product with k = %d has the same bits on any number of threads", async (m, n, k) => {
    const data = { a: floats(m * k), b: floats(n * k), c: floats(n * k) };
    const build = () => ({
      forward: cast(linear(cast(input("a", "f32", [m, k]), type), cast(input("b", "f32", [n, k]), type)), "f32"),
      turned: cast(
        linear(cast(input("a", "f32", [m, k]), type), cast(input("c", "f32", [k, n]), type), undefined, {
          transposed: true,
        }),
        "f32",
      ),
    });
    const run = async (threads: number) => {
      const bound = compile(build).bind(openDevice({ threads }), new Map());
      const outputs = (await bound.run(data)) as Record<string, Float32Array>;
      bound.dispose();
      return outputs;
    };
    const alone = await run(1);
    const exact = (i: number, j: number) => {
      const round = (v: number) => (type === "bf16" ? toBf16(v) : v);
      let sum = 0;
      for (let p = 0; p < k; p++) sum += round(data.a[i * k + p]!) * round(data.b[j * k + p]!);
      return sum;
    };
    for (const [i, j] of [
      [0, 0],
      [m - 1, n - 1],
      [m >> 1, n >> 1],
    ] as const)
      expect(Math.abs(alone.forward![i * n + j]! - exact(i, j))).toBeLessThan(type === "f32" ? 1e-4 : 0.05);
    for (const threads of counts) {
      const together = await run(threads);
      for (const name of ["forward", "turned"])
        expect(hash(together[name]!), `${name}, ${threads}`).toBe(hash(alone[name]!));
    }
  });
});

function toBf16(v: number): number {
  const f = Float32Array.of(v);
  const u = new Uint32Array(f.buffer);
  u[0] = (u[0]! + 0x7fff + ((u[0]! >> 16) & 1)) & 0xffff0000;
  return f[0]!;
}

// Loops of one task up to many tasks run back to back, so that threads wake up in the middle of loops. Each run adds to the last result, so
// that a lost or stale task remains visible.
test.each(counts)("no task of a loop is lost on %d threads", async (threads) => {
  const device = openDevice({ threads });
  for (const n of [1, 17, 4096, 40_000, 150_001, 1_300_003]) {
    const state = await Tensor.from(device, "f32", [n], new Float32Array(n));
    const program = compile(() => {
      const [sum, x] = [tensor("sum", "f32", [n]), input("x", "f32", [n])];
      assign(sum, add(sum, x));
      return {};
    });
    const bound = program.bind(device, new Map([["sum", state]]));
    const x = Float32Array.from({ length: n }, (_, i) => 1 + (i % 1000));
    for (let run = 0; run < 20; run++) await bound.run({ x });
    expect(hash((await state.read()) as Float32Array)).toBe(hash(x.map((v) => 20 * v)));
    bound.dispose();
    state.dispose();
  }
});
