import {
  compile,
  type Device,
  type FloatDType,
  fp8Linear,
  gatherRows,
  input,
  linear,
  type Tensor,
  tensor,
} from "../../graph/index.ts";
import { opRow } from "../../graph/op-table.ts";
import { filled, filledFp8, runSeconds } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

type Product = [m: number, n: number, k: number];
const SHAPES: Record<Device["kind"], Product[]> = {
  cpu: [
    [1024, 1024, 1024],
    [512, 1536, 576],
    [2048, 2048, 2048],
  ],
  // Squares, as in published results; a layer of a 1B model on 8k tokens; a small batch, as in decoding.
  cuda: [
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [8192, 5632, 2048],
    [16, 4096, 4096],
  ],
};
const LAYOUTS = ["NT", "NN", "TN"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** Matrix products of models: NT in the forward pass (weights as stored), NN and TN in the backward pass. */
export const gemmSuite: BenchSuite = async function* ({ device, quick }) {
  const shapes: Product[] = quick ? [[48, 32, 64]] : SHAPES[device.kind];
  for (const dtype of ["f32", "bf16"] as const)
    for (const [index, [m, n, k]] of shapes.entries())
      for (const layout of index === 0 ? LAYOUTS : LAYOUTS.slice(0, 1)) {
        const tensors = new Map<string, Tensor>();
        for (const [name, shape] of Object.entries(operands(layout, m, n, k)))
          tensors.set(name, await filled(device, dtype, shape));
        const executable = product(layout, dtype, m, n, k).bind(device, tensors);
        const flops = 2 * m * n * k;
        // Long enough for the clock, and for the overhead of a call to be small.
        const repeat = quick ? 1 : Math.max(1, Math.round((device.kind === "cuda" ? 1e12 : 2e10) / flops));
        const few = device.kind === "cuda" && m < 64; // limited by the bandwidth for weights
        const bytes = (dtype === "f32" ? 4 : 2) * (m * k + n * k + m * n);
        yield {
          name: `gemm ${dtype} ${m}x${n}x${k} ${layout}`,
          unit: "GFLOP/s",
          work: (flops * repeat) / 1e9,
          bound: { ceiling: few ? "read" : dtype, amount: (few ? bytes : flops) * repeat },
          run: () => runSeconds(executable, { row: Int32Array.of(0) }, repeat),
        };
        executable.dispose();
        for (const t of tensors.values()) t.dispose();
      }
  yield* fp8Cases(device, shapes, quick);
};

/**
 * Weights of 8-bit floats with a scale per block of 128 × 128, and bf16 activations that are rounded to 8 bits. The
 * ceiling is that of bf16 products. So the gain of 8 bits shows as a greater share of the ceiling than in the bf16
 * case.
 */
async function* fp8Cases(device: Device, shapes: Product[], quick: boolean): ReturnType<BenchSuite> {
  for (const [m, n, k] of shapes) {
    const blocks = [Math.ceil(n / 128), Math.ceil(k / 128)] as const;
    const tensors = new Map([
      ["x", await filled(device, "bf16", [m, k])],
      ["w", await filledFp8(device, [n, k])],
      ["scale", await filled(device, "f32", blocks)],
    ]);
    const executable = compile(() => {
      const x = tensor("x", "bf16", [m, k]);
      const [w, scale] = [tensor("w", "u8", [n, k]), tensor("scale", "f32", blocks)];
      return { row: gatherRows(fp8Linear(x, w, scale, undefined, { activations: "int8" }), input("row", "i32", [1])) };
    }).bind(device, tensors);
    const flops = 2 * m * n * k;
    const repeat = quick ? 1 : Math.max(1, Math.round((device.kind === "cuda" ? 1e12 : 1e10) / flops));
    const few = device.kind === "cuda" && m < 64;
    const bytes = 2 * m * k + n * k + 2 * m * n;
    yield {
      name: `gemm fp8 ${m}x${n}x${k} NT`,
      unit: "GFLOP/s",
      work: (flops * repeat) / 1e9,
      bound: { ceiling: few ? "read" : "bf16", amount: (few ? bytes : flops) * repeat },
      run: () => runSeconds(executable, { row: Int32Array.of(0) }, repeat),
    };
    executable.dispose();
    for (const t of tensors.values()) t.dispose();
  }
}

export function operands(layout: Layout, m: number, n: number, k: number): Record<string, number[]> {
  if (layout === "NT") return { a: [m, k], b: [n, k] };
  if (layout === "NN") return { a: [m, k], b: [k, n] };
  return { a: [k, m], b: [k, n] };
}

/** Only one row of the result is read, so that copying it is not timed. */
export function product(layout: Layout, dtype: FloatDType, m: number, n: number, k: number) {
  return compile(() => {
    const shapes = operands(layout, m, n, k);
    const [a, b] = [tensor("a", dtype, shapes.a!), tensor("b", dtype, shapes.b!)];
    const row = input("row", "i32", [1]);
    if (layout === "NT") return { row: gatherRows(linear(a, b), row) };
    if (layout === "NN") return { row: gatherRows(linear(a, b, undefined, { transposed: true }), row) };
    // aᵀ b is the weight gradient of a linear layer whose output gradient is a. The layer's own product is not part of
    // the program.
    const { source } = linear(b, tensor("w", dtype, [m, n]));
    if (source.kind !== "node") throw new Error("bench: expected a node");
    const [, dw] = opRow("linear").vjp!(source.node, [a], [false, true]);
    return { row: gatherRows(dw!, row) };
  });
}
