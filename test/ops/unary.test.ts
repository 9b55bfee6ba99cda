import { expect, test } from "vitest";
import {
  abs,
  clamp,
  compile,
  exp,
  gradients,
  input,
  log,
  log1mexp,
  logSigmoid,
  minimum,
  mul,
  openDevice,
  reciprocal,
  relu,
  sigmoid,
  softplus,
  sqrt,
  stopGradient,
  sum,
  tanh,
  type Value,
} from "../../lib/graph/index.ts";

const device = openDevice();

async function apply(f: (x: Value) => Value, x: number[]): Promise<number[]> {
  const program = compile(() => ({ y: f(input("x", "f32", [x.length])) })).bind(device, new Map());
  const { y } = await program.run({ x: Float32Array.from(x) });
  program.dispose();
  return Array.from(y);
}

const some = [-3, -0.5, -0.125, 0.25, 1, 2.5];
test.each([
  ["exp", exp, Math.exp, some],
  ["log", log, Math.log, some.map(Math.abs)],
  ["sigmoid", sigmoid, (x: number) => 1 / (1 + Math.exp(-x)), some],
  ["logSigmoid", logSigmoid, (x: number) => -Math.log1p(Math.exp(-x)), some],
  ["softplus", softplus, (x: number) => Math.log1p(Math.exp(x)), some],
  ["tanh", tanh, Math.tanh, some],
  ["relu", relu, (x: number) => Math.max(x, 0), some],
  ["abs", abs, Math.abs, some],
  ["sqrt", sqrt, Math.sqrt, some.map(Math.abs)],
  ["reciprocal", reciprocal, (x: number) => 1 / x, some],
  ["log1mexp", log1mexp, (x: number) => Math.log(1 - Math.exp(x)), [-3, -1, -0.5, -0.25]],
] as const)("%s computes the mathematical function of that name", async (_, f, expected, at) => {
  const got = await apply(f, [...at]);
  got.forEach((y, i) => {
    expect(Math.abs(y - expected(at[i]!))).toBeLessThanOrEqual(2 ** -22 * Math.max(1, Math.abs(expected(at[i]!))));
  });
});

test("extreme inputs give neither overflow nor NaN", async () => {
  expect(await apply(sigmoid, [-1e4, 1e4])).toEqual([0, 1]);
  expect(await apply(logSigmoid, [-1e4, 1e4])).toEqual([-1e4, 0]);
  expect(await apply(log1mexp, [-1e-30, -1e4])).toEqual([Math.fround(Math.log(1e-30)), -0]);
  expect(await apply((x) => clamp(x, { high: 1 }), [-3e38, 3e38])).toEqual([Math.fround(-3e38), 1]);
});

test("gradients at kinks match PyTorch: 1 at clamp's bounds, shared by equal operands, 0 for relu at 0", async () => {
  const slope = async (f: (x: Value) => Value, x: number[]) => {
    const program = compile(() => {
      const v = input("x", "f32", [x.length]);
      return { g: gradients(sum(f(v)), [v], input("one", "f32", [1]))[0]! };
    }).bind(device, new Map());
    const { g } = await program.run({ x: Float32Array.from(x), one: Float32Array.of(1) });
    program.dispose();
    return Array.from(g);
  };
  expect(await slope((x) => clamp(x, { low: -1, high: 1 }), [-2, -1, 0, 1, 2])).toEqual([0, 1, 1, 1, 0]);
  expect(await slope(relu, [-1, 0, 1])).toEqual([0, 0, 1]);
  expect(await slope((x) => minimum(x, stopGradient(x)), [3])).toEqual([0.5]);
  expect(await slope((x) => mul(x, stopGradient(x)), [3])).toEqual([3]);
});
