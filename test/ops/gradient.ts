// Compares the gradient of a composition with finite differences of its forward pass.
import { expect } from "vitest";
import { compile, gradients, input, mul, openDevice, sum, type Value } from "../../lib/graph/index.ts";
import { add } from "../../lib/graph/ops/elementwise.ts";
import { count, type GradientCase, generator, materialize, sanitized, testDevice } from "./harness.ts";

/**
 * The loss is Σ outputs · random weights, summed in double. Central differences at steps h and 2h are combined so that the h² term cancels
 * (Richardson). The remaining error is near 2⁻²⁴ · |loss| / h. The bound is 2·10⁻⁴ of the largest gradient, or 2·10⁻⁴
 * if all gradients are below 1. This bound leaves a margin, and is far below the effect of any wrong term.
 */
export async function checkGradient(c: GradientCase): Promise<void> {
  const device = openDevice({ device: testDevice });
  const names = Object.keys(c.operands);
  const constants = Object.entries(c.constants ?? {});
  const build = () => {
    const values: Record<string, Value> = {};
    for (const name of names) values[name] = input(name, "f32", c.operands[name]!);
    for (const [name, o] of constants) values[name] = input(name, o.dtype, o.shape);
    const built = c.build(values);
    return { values, outputs: Array.isArray(built) ? (built as readonly Value[]) : [built as Value] };
  };
  const shapes: number[][] = [];
  const forward = compile(() => {
    const { outputs } = build();
    shapes.push(...outputs.map((o) => o.shape as number[]));
    return Object.fromEntries(outputs.map((o, i) => [`y${i}`, o]));
  }).bind(device, new Map());
  const backward = compile(() => {
    const { values, outputs } = build();
    const loss = outputs.map((o, i) => sum(mul(o, input(`weights${i}`, "f32", o.shape)))).reduce((a, b) => add(a, b));
    const found = gradients(
      loss,
      names.map((n) => values[n]!),
      input("seed", "f32", [1]),
    );
    return Object.fromEntries(names.map((n, i) => [n, found[i]!]));
  }).bind(device, new Map());

  const random = generator(3);
  const draw = (n: number) => Float32Array.from({ length: n }, () => random() * 2 - 1);
  const data: Record<string, Float32Array | Int32Array> = {};
  for (const name of names) data[name] = draw(count(c.operands[name]!));
  materialize(
    constants.map(([, o]) => o),
    4,
  ).forEach((d, i) => {
    data[constants[i]![0]] = d as Float32Array | Int32Array;
  });
  const weights = shapes.map((s) => draw(count(s)));
  const loss = async () => {
    const y = await forward.run(data);
    return weights.reduce((total, w, k) => total + w.reduce((s, v, i) => s + v * y[`y${k}`]![i]!, 0), 0);
  };
  const got = await backward.run({
    ...data,
    ...Object.fromEntries(weights.map((w, i) => [`weights${i}`, w])),
    seed: Float32Array.of(1),
  });

  if (sanitized) {
    await loss(); // a sanitizer needs one run of each program, and `backward` has run above
    forward.dispose();
    backward.dispose();
    return;
  }

  const step = 2 ** -6;
  for (const name of names) {
    const x = data[name]!;
    const expected = new Float64Array(x.length);
    for (let i = 0; i < x.length; i++) {
      const value = x[i]!;
      const at = async (h: number) => {
        x[i] = value + h;
        return loss();
      };
      const [a, b, a2, b2] = [await at(step), await at(-step), await at(2 * step), await at(-2 * step)];
      x[i] = value;
      expected[i] = (8 * (a - b) - (a2 - b2)) / (12 * step);
    }
    const bound = 2e-4 * Math.max(1, ...expected.map(Math.abs));
    expected.forEach((e, i) => {
      expect(
        Math.abs(got[name]![i]! - e),
        `d/d${name}[${i}]: ${got[name]![i]}, by differences ${e}`,
      ).toBeLessThanOrEqual(bound);
    });
  }
  forward.dispose();
  backward.dispose();
}
