import {
  add,
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
import { filled, filledFp8, runInTurn, runSeconds } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

type Product = [m: number, n: number, k: number];
const SHAPES: Record<Device["kind"], Product[]> = {
  cpu: [
    [1024, 1024, 1024],
    [512, 1536, 576],
    [2048, 2048, 2048],
  ],
  // Square matrices, as in published results; a layer of a 1B model on 8k tokens; and few rows, as in decoding.
  cuda: [
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [8192, 5632, 2048],
    [16, 4096, 4096],
  ],
};
/**
 * Number of weight matrices in a case with few rows. A single one of 4096 × 4096 would fit into a GPU's cache, unlike the weights of a
 * model.
 */
const FEW_ROWS_WEIGHTS = 32;
const LAYOUTS = ["NT", "NN", "TN"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** Matrix products of models: NT in the forward pass (weights as stored), NN and TN in the backward pass. */
export const gemmSuite: BenchSuite = async function* ({ device, quick }) {
  const shapes: Product[] = quick ? [[48, 32, 64]] : SHAPES[device.kind];
  for (const dtype of ["f32", "bf16"] as const)
    for (const [index, [m, n, k]] of shapes.entries())
      for (const layout of index === 0 ? LAYOUTS : LAYOUTS.slice(0, 1)) {
        const { few, count } = fewRows(device, m, quick);
        const tensors = new Map<string, Tensor>();
        for (const [name, shape] of Object.entries(operands(layout, m, n, k, count)))
          tensors.set(name, await filled(device, dtype, shape));
        const executable = product(layout, dtype, m, n, k, count).bind(device, tensors);
        const flops = 2 * m * n * k * count;
        // Repeat small products, so that the resolution of the clock and the overhead of a call do not matter.
        const repeat = quick ? 1 : Math.max(1, Math.round((device.kind === "cuda" ? 1e12 : 2e10) / flops));
        const bytes = (dtype === "f32" ? 4 : 2) * (m * k + n * k + m * n) * count;
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
 * Yields products of 8-bit weights, with a scale per block of 128 × 128, and bf16 activations that are rounded to 8 bits.
 * The ceiling is that of bf16 products, so a gain of 8 bits shows as a greater share than in the bf16 case.
 */
async function* fp8Cases(device: Device, shapes: Product[], quick: boolean): ReturnType<BenchSuite> {
  for (const [m, n, k] of shapes) {
    const { few, count } = fewRows(device, m, quick);
    const blocks = [Math.ceil(n / 128), Math.ceil(k / 128)] as const;
    const x = await filled(device, "bf16", [m, k]);
    const scale = await filled(device, "f32", blocks);
    const weights: Tensor[] = [];
    for (let i = 0; i < count; i++) weights.push(await filledFp8(device, [n, k]));
    const program = compile(() => {
      const [x, w, scale] = [tensor("x", "bf16", [m, k]), tensor("w", "u8", [n, k]), tensor("scale", "f32", blocks)];
      return { row: gatherRows(fp8Linear(x, w, scale, undefined, { activations: "int8" }), input("row", "i32", [1])) };
    });
    // Each weight matrix has its own executable. One program for all of them would also time the sum of the products, because the epilogue of
    // fp8Linear does not add.
    const executables = weights.map((w) =>
      program.bind(
        device,
        new Map([
          ["x", x],
          ["w", w],
          ["scale", scale],
        ]),
      ),
    );
    const flops = 2 * m * n * k;
    const repeat = quick ? 1 : Math.max(1, Math.round((device.kind === "cuda" ? 1e12 : 1e10) / flops));
    const bytes = 2 * m * k + n * k + 2 * m * n;
    yield {
      name: `gemm fp8 ${m}x${n}x${k} NT`,
      unit: "GFLOP/s",
      work: (flops * repeat) / 1e9,
      bound: { ceiling: few ? "read" : "bf16", amount: (few ? bytes : flops) * repeat },
      run: () => runInTurn(executables, { row: Int32Array.of(0) }, repeat),
    };
    for (const executable of executables) executable.dispose();
    for (const t of [x, scale, ...weights]) t.dispose();
  }
}

/** Returns whether reading the weights limits a product of `m` rows, and how many weight matrices the case has. */
export function fewRows(device: Pick<Device, "kind">, m: number, quick: boolean): { few: boolean; count: number } {
  const few = device.kind === "cuda" && m < 64;
  return { few, count: few && !quick ? FEW_ROWS_WEIGHTS : 1 };
}

/** Returns the operands' shapes: `a`, and `count` matrices to multiply it with. */
export function operands(layout: Layout, m: number, n: number, k: number, count = 1): Record<string, number[]> {
  const a = layout === "TN" ? [k, m] : [m, k];
  const b = layout === "NT" ? [n, k] : [k, n];
  return { a, ...Object.fromEntries(Array.from({ length: count }, (_, i) => [`b${i}`, b])) };
}

/**
 * Compiles the products of `a` with `count` matrices. It returns one row of their sum, so copying the result takes little time. A GPU adds up
 * the products in their epilogues, so the sum takes no extra pass. With many products, the launch overhead of a run is negligible.
 */
export function product(layout: Layout, dtype: FloatDType, m: number, n: number, k: number, count = 1) {
  return compile(() => {
    const { a: shape, ...matrices } = operands(layout, m, n, k, count);
    const a = tensor("a", dtype, shape!);
    const row = input("row", "i32", [1]);
    const results = Object.entries(matrices).map(([name, of]) => {
      const b = tensor(name, dtype, of);
      if (layout !== "TN") return linear(a, b, undefined, { transposed: layout === "NN" });
      // aᵀ b is the weight gradient of a linear layer whose output gradient is a. Nothing reads the layer's own product,
      // so it is not compiled.
      const { source } = linear(b, tensor("w", dtype, [m, n]));
      if (source.kind !== "node") throw new Error("bench: expected a node");
      return opRow("linear").vjp!(source.node, [a], [false, true])[1]!;
    });
    return {
      row: gatherRows(
        results.reduce((sum, one) => add(sum, one)),
        row,
      ),
    };
  });
}
