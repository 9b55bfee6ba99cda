import { needDim, needFloat } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { TensorType, Value } from "../value.ts";

const linearNode = defineOp({
  name: "linear",
  infer([x, w, b], { transposed }) {
    const input = needFloat("linear", "x", x, 2);
    const weight = needFloat("linear", "weight", w, 2);
    const [outputs, inputs] = transposed ? [weight.dim(1), weight.dim(0)] : [weight.dim(0), weight.dim(1)];
    needDim("linear", "last dimension of x", input.dim(1), inputs);
    if (b) needDim("linear", "bias", needFloat("linear", "bias", b, 1).dim(0), outputs);
    return [{ dtype: input.dtype, shape: [input.dim(0), outputs] }];
  },
  vjp({ inputs: [x, w, b], attributes }, [dy]) {
    return [
      backwardInput([dy, w], attributes, [x!])[0],
      backwardWeight([dy, x], attributes, [{ dtype: "f32", shape: w!.shape }])[0],
      b && columnSumNode([dy])[0],
    ];
  },
});

const wantedType = (_: unknown, __: unknown, [type]: readonly TensorType[]) => [
  { dtype: type!.dtype, shape: type!.shape },
];
const backwardInput = defineOp({ name: "linear_backward_input", infer: wantedType });
const backwardWeight = defineOp({ name: "linear_backward_weight", infer: wantedType });
const columnSumNode = defineOp({
  name: "column_sum",
  infer: ([dy]) => [{ dtype: "f32", shape: [needFloat("column_sum", "dy", dy, 2).dim(1)] }],
});

export interface LinearOptions {
  /** The weight is stored (inputs, outputs): GPT-2's Conv1D. */
  transposed?: boolean;
  /** Each row's bits depend on that row alone, however many rows there are. Slower for many rows. */
  rowwise?: boolean;
}

/**
 * y = x·Wᵀ + b.
 * @param x (rows, inputs)
 * @param weight (outputs, inputs), or (inputs, outputs) with `transposed` (GPT-2's Conv1D); f32, bf16 or f16
 * @param bias (outputs)
 * @returns (rows, outputs) in x's dtype; sums are kept in f32. The weight's gradient is f32.
 */
export function linear(
  x: Value,
  weight: Value,
  bias?: Value,
  { transposed = false, rowwise = false }: LinearOptions = {},
): Value {
  return linearNode([x, weight, bias], { transposed: transposed ? 1 : 0, rowwise: rowwise ? 1 : 0 })[0]!;
}
