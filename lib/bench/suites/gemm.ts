import {
  compile,
  type FloatDType,
  gradients,
  type Inputs,
  input,
  linear,
  mul,
  sum,
  type Tensor,
  tensor,
} from "../../graph/index.ts";
import { filled } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

const SHAPES: [m: number, n: number, k: number][] = [
  [1024, 1024, 1024],
  [512, 1536, 576],
  [2048, 2048, 2048],
];
const LAYOUTS = ["NT", "NN", "TN"] as const;
type Layout = (typeof LAYOUTS)[number];

/** Matrix products as models have them: NT forward (weights as they are stored), NN and TN as they are in backward passes. */
export const gemmSuite: BenchSuite = async function* ({ device, quick }) {
  const shapes: typeof SHAPES = quick ? [[48, 32, 64]] : SHAPES;
  for (const dtype of ["f32", "bf16"] as const)
    for (const [index, [m, n, k]] of shapes.entries())
      for (const layout of index === 0 ? LAYOUTS : LAYOUTS.slice(0, 1)) {
        const tensors = new Map<string, Tensor>();
        for (const [name, shape] of Object.entries(operands(layout, m, n, k)))
          tensors.set(name, await filled(device, dtype, shape));
        const executable = product(layout, dtype, m, n, k).bind(device, tensors);
        const inputs: Inputs = layout === "TN" ? { one: Float32Array.of(1) } : {};
        const flops = 2 * m * n * k;
        // Long enough for a clock, and for the price of a call to be small beside it.
        const repeat = quick ? 1 : Math.max(1, Math.round(2e10 / flops));
        yield {
          name: `gemm ${dtype} ${m}x${n}x${k} ${layout}`,
          unit: "GFLOP/s",
          work: (flops * repeat) / 1e9,
          bound: { ceiling: dtype, amount: flops * repeat },
          async run() {
            const start = performance.now();
            for (let i = 0; i < repeat; i++) await executable.run(inputs);
            return (performance.now() - start) / 1000;
          },
        };
        executable.dispose();
        for (const t of tensors.values()) t.dispose();
      }
};

function operands(layout: Layout, m: number, n: number, k: number): Record<string, number[]> {
  if (layout === "NT") return { a: [m, k], b: [n, k] };
  if (layout === "NN") return { a: [m, k], b: [k, n] };
  return { a: [k, m], b: [k, n] };
}

/** The result is reduced to one number, so that no copy of it is timed. */
function product(layout: Layout, dtype: FloatDType, m: number, n: number, k: number) {
  return compile(() => {
    const shapes = operands(layout, m, n, k);
    const [a, b] = [tensor("a", dtype, shapes.a!), tensor("b", dtype, shapes.b!)];
    if (layout === "NT") return { total: sum(linear(a, b)) };
    if (layout === "NN") return { total: sum(linear(a, b, undefined, { transposed: true })) };
    // aᵀ b is the gradient of a linear layer's weights, a being that of its output: the layer itself drops out of the program.
    const w = tensor("w", dtype, [m, n]);
    const [dw] = gradients(sum(mul(linear(b, w), a)), [w], input("one", "f32", [1]));
    return { total: sum(dw!) };
  });
}
