import { castBytes } from "../../formats/native-cast.ts";
import {
  add,
  bytesOf,
  compile,
  type Device,
  type FloatDType,
  fp8Linear,
  gatherRows,
  input,
  linear,
  type Program,
  Tensor,
  tensor,
  type Value,
} from "../../graph/index.ts";
import { opRow } from "../../graph/op-table.ts";
import { FP8_BLOCK } from "../../graph/ops/fp8.ts";
import { filled, filledFp8, runSeconds } from "../ceilings.ts";
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
/** Total size of the weights of a case with few rows. It is several times the cache of a GPU or processor, as in a model. */
const FEW_ROWS_BYTES = 2 ** 29;
/** Maximum number of weight matrices in a case, so that programs of small products stay short. */
const MAX_WEIGHTS = 64;
const LAYOUTS = ["NT", "NN", "TN"] as const;
/** The layout of a product's operands: N as stored by rows, T transposed. */
export type Layout = (typeof LAYOUTS)[number];

/** Matrix products of models: NT in the forward pass (weights as stored), NN and TN in the backward pass. */
export const gemmSuite: BenchSuite = async function* ({ device, quick }) {
  const shapes: Product[] = quick ? [[48, 32, 64]] : SHAPES[device.kind];
  for (const dtype of ["f32", "bf16"] as const)
    for (const [index, [m, n, k]] of shapes.entries())
      for (const layout of index === 0 ? LAYOUTS : LAYOUTS.slice(0, 1)) {
        const { few, count } = fewRows(device, m, quick ? Infinity : n * k * bytesOf(dtype));
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
  yield* rowCases(device, quick);
};

/**
 * Yields products of 8-bit weights, with a scale per block of 128 × 128, and bf16 activations that are rounded to 8 bits.
 * The ceiling is that of bf16 products, except for few rows. If 8-bit weights are faster, the share of the ceiling is larger than in the bf16
 * case.
 */
async function* fp8Cases(device: Device, shapes: Product[], quick: boolean): ReturnType<BenchSuite> {
  for (const [m, n, k] of shapes) {
    const { few, count } = fewRows(device, m, quick || n !== k ? Infinity : n * k);
    const blocks = [Math.ceil(n / FP8_BLOCK), Math.ceil(k / FP8_BLOCK)] as const;
    const tensors = new Map([["x", await filled(device, "bf16", [m, k])]]);
    // The factor keeps the results of a chain near 1: the weights' root mean square is about 100.
    const factors = new Float32Array(blocks[0] * blocks[1]).fill(0.01 / Math.sqrt(k));
    tensors.set("scale", await Tensor.fromOwn(device, "f32", blocks, factors));
    for (let i = 0; i < count; i++) tensors.set(`w${i}`, await filledFp8(device, [n, k]));
    const executable = chain([m, k], "bf16", count, (x, name) =>
      fp8Linear(x, tensor(name, "u8", [n, k]), tensor("scale", "f32", blocks), undefined, { activations: "int8" }),
    ).bind(device, tensors);
    const flops = 2 * m * n * k * count;
    const repeat = quick ? 1 : Math.max(1, Math.round((device.kind === "cuda" ? 1e12 : 1e10) / flops));
    const bytes = (2 * m * k + n * k + 2 * m * n) * count;
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

/**
 * Yields products of one row, as in decoding. The activations are f32. They are rounded to 8 bits for quantized weights, and to bf16 for bf16
 * weights (see `QuantizedActivations`).
 */
async function* rowCases(device: Device, quick: boolean): ReturnType<BenchSuite> {
  const size = quick ? 256 : 4096;
  // Rows of random numbers, which repeat. The factor keeps the results of a chain near 1: a product sums `size` random terms.
  const distinctRows = 64;
  const values = new Float32Array(distinctRows * size);
  for (let i = 0, random = 1; i < values.length; i++) {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
    values[i] = (random / 2 ** 31 - 1) / Math.sqrt(size / 3);
  }
  for (const dtype of ["bf16", "q8_0", "q4_k"] as const) {
    const rows = castBytes(new Uint8Array(values.buffer), "f32", dtype, "weights");
    const bytes = new Uint8Array((size / distinctRows) * rows.length);
    for (let at = 0; at < bytes.length; at += rows.length) bytes.set(rows, at);
    const count = quick ? 1 : weightsBeyondCache(bytes.length);
    const tensors = new Map([["x", await filled(device, "f32", [1, size])]]);
    for (let i = 0; i < count; i++) {
      const w = Tensor.zeros(device, dtype, [size, size]);
      await w.writeBytes(bytes, 0);
      tensors.set(`w${i}`, w);
    }
    const executable = chain([1, size], "f32", count, (x, name) =>
      linear(x, tensor(name, dtype, [size, size]), undefined, { activations: "int8" }),
    ).bind(device, tensors);
    const repeat = quick ? 1 : device.kind === "cuda" ? 16 : 8;
    yield {
      name: `gemv ${dtype} ${size}x${size}`,
      unit: "GB/s",
      work: (bytes.length * count * repeat) / 1e9,
      bound: { ceiling: "read", amount: bytes.length * count * repeat },
      run: () => runSeconds(executable, { row: Int32Array.of(0) }, repeat),
    };
    executable.dispose();
    for (const t of tensors.values()) t.dispose();
  }
}

/**
 * Compiles a chain of products. Each reads the result of the previous one, like the layers of a model. The program returns one row of the
 * last result.
 * @param multiply returns the product of x with the weight of this name, w0 to w(count − 1)
 */
export function chain(
  shape: readonly number[],
  dtype: FloatDType,
  count: number,
  multiply: (x: Value, name: string) => Value,
): Program {
  return compile(() => {
    let x = tensor("x", dtype, shape);
    for (let i = 0; i < count; i++) x = multiply(x, `w${i}`);
    return { row: gatherRows(x, input("row", "i32", [1])) };
  });
}

/**
 * Returns whether reading the weights limits a product of `m` rows on a device, and how many weight matrices its case has.
 * @param weightBytes size of one matrix, or Infinity for a case with a single one
 */
export function fewRows(device: Pick<Device, "kind">, m: number, weightBytes: number): { few: boolean; count: number } {
  const few = device.kind === "cuda" && m < 64;
  return { few, count: few ? weightsBeyondCache(weightBytes) : 1 };
}

/** Returns how many weight matrices of this size a case needs, so that each product reads its matrix from memory instead of a cache. */
function weightsBeyondCache(bytes: number): number {
  return Math.max(1, Math.min(MAX_WEIGHTS, Math.ceil(FEW_ROWS_BYTES / bytes)));
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
