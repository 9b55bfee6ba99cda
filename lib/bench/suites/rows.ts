import {
  adamw,
  add,
  compile,
  gatherRows,
  type Inputs,
  input,
  type Results,
  rmsNorm,
  softmax,
  swiglu,
  type Tensor,
  tensor,
  type Value,
} from "../../graph/index.ts";
import { type FilledDType, filled, runSeconds } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

interface RowWork {
  name: string;
  /** Number of matrices (rows, width) that are read or written, each once. */
  matrices: number;
  dtype: FilledDType;
  tensors: readonly string[];
  inputs?: Inputs;
  build(of: (name: string) => Value): Value[];
}
const WORK: RowWork[] = [
  {
    name: "rms_norm with residual",
    matrices: 4,
    dtype: "bf16",
    tensors: ["x", "r"],
    build(of) {
      const { y, h } = rmsNorm(of("x"), of("weight"), { eps: 1e-5, residual: of("r") });
      return [y, h];
    },
  },
  {
    name: "swiglu",
    matrices: 3,
    dtype: "bf16",
    tensors: ["gate", "up"],
    build: (of) => [swiglu(of("gate"), of("up"))],
  },
  { name: "add", matrices: 3, dtype: "bf16", tensors: ["a", "b"], build: (of) => [add(of("a"), of("b"))] },
  { name: "softmax", matrices: 2, dtype: "f32", tensors: ["x"], build: (of) => [softmax(of("x"))] },
  {
    name: "adamw",
    matrices: 7,
    dtype: "f32",
    tensors: ["parameter", "gradient", "m", "v"],
    // Learning rate, β1, β2, eps, weight decay, 1 − β1ᵗ and 1 − β2ᵗ.
    inputs: { hyper: Float32Array.of(1e-3, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05), factor: Float32Array.of(1) },
    build(of) {
      const [parameter, gradient, m, v] = [of("parameter"), of("gradient"), of("m"), of("v")];
      const [hyper, factor] = [input("hyper", "f32", [7]), input("factor", "f32", [1])];
      adamw({ parameter, gradient, m, v, hyper, factor }, { decay: true });
      return [];
    },
  },
];

/** Memory-bound ops: they compute little, and their data exceeds the caches. */
export const rowsSuite: BenchSuite = async function* ({ device, quick }) {
  const [rows, width] = quick ? [8, 64] : device.kind === "cuda" ? [65_536, 2048] : [8192, 2048];
  for (const { name, matrices, dtype, tensors: names, inputs: own, build } of WORK) {
    const tensors = new Map<string, Tensor>();
    for (const each of names) tensors.set(each, await filled(device, dtype, [rows, width]));
    tensors.set("weight", await filled(device, dtype, [width]));
    const program = compile((): Results => {
      const values = build((each) => tensor(each, dtype, each === "weight" ? [width] : [rows, width]));
      // Read back only one row of each result, so that copying the results is not timed.
      const row = input("row", "i32", [1]);
      return Object.fromEntries(values.map((value, i) => [`row${i}`, gatherRows(value, row)]));
    });
    const executable = program.bind(device, tensors);
    const bytes = matrices * rows * width * (dtype === "f32" ? 4 : 2);
    const repeat = quick ? 1 : device.kind === "cuda" ? 8 : 4;
    const inputs = { row: Int32Array.of(0), ...own };
    yield {
      name: `${name} ${dtype} ${rows}x${width}`,
      unit: "GB/s",
      work: (bytes * repeat) / 1e9,
      bound: { ceiling: "read", amount: bytes * repeat },
      run: () => runSeconds(executable, inputs, repeat),
    };
    executable.dispose();
    for (const t of tensors.values()) t.dispose();
  }
};
