import { invalidArgument } from "../../core/errors.ts";
import { isQuantized } from "../dtype.ts";
import { fail, needDim, needFloat, needNames, needValue, needWeight } from "../expect.ts";
import { defineOp, type Operands } from "../op-table.ts";
import type { TensorType, Value } from "../value.ts";

/** Checks the operands of a linear layer. @returns the type of its result */
function typeOf([x, w, b]: Operands, transposed: boolean): TensorType[] {
  const input = needFloat("linear", "x", x, 2);
  const weight = needWeight("linear", "weight", w);
  if (transposed && isQuantized(weight.dtype))
    fail("linear", "weight", "f32, bf16 or f16, because it is transposed", weight.dtype);
  const [outputs, inputs] = transposed ? [weight.dim(1), weight.dim(0)] : [weight.dim(0), weight.dim(1)];
  needDim("linear", "last dimension of x", input.dim(1), inputs);
  if (b) needDim("linear", "bias", needFloat("linear", "bias", b, 1).dim(0), outputs);
  return [{ dtype: input.dtype, shape: [input.dim(0), outputs] }];
}

const linearNode = defineOp({
  name: "linear",
  infer: (operands, { transposed }) => typeOf(operands, transposed === 1),
  vjp({ inputs: [x, w, b], attributes }, [dy]) {
    const { transposed = 0 } = attributes;
    return [
      backwardInput([dy, w], { transposed }, [x!])[0],
      // A quantized weight is frozen, so it has no gradient.
      isQuantized(w!.dtype)
        ? undefined
        : backwardWeight([dy, x], { transposed }, [{ dtype: "f32", shape: w!.shape }])[0],
      b && columnSum(dy!),
    ];
  },
});

const wantedType = (_: unknown, __: unknown, [type]: readonly TensorType[]) => [
  { dtype: type!.dtype, shape: type!.shape },
];
/**
 * The product of two matrices that are rounded to e4m3: a (m, k), or (k, m) if `a_transposed` is set, times b (k, n), or (n, k) if
 * `b_transposed` is set. Gradients are such products too, and have no gradients.
 */
const fp8Product = defineOp({
  name: "fp8_product",
  infer(operands, { b_transposed }, [type]) {
    return type ? [{ dtype: type.dtype, shape: type.shape }] : typeOf(operands, b_transposed === 0);
  },
  vjp({ inputs: [x, w, b], attributes: { b_transposed: asStored } }, [dy]) {
    const [left, right] = asStored ? [dy, x] : [x, dy]; // in the order of the weight's axes
    return [
      fp8Product([dy, w], { a_transposed: 0, b_transposed: asStored ? 0 : 1 }, [x!])[0],
      fp8Product([left, right], { a_transposed: 1, b_transposed: 0 }, [{ dtype: "f32", shape: w!.shape }])[0],
      b && columnSum(dy!),
    ];
  },
});
const backwardInput = defineOp({ name: "linear_backward_input", infer: wantedType });
const backwardWeight = defineOp({ name: "linear_backward_weight", infer: wantedType });
// Only lib/graph/passes/fuse-epilogues.ts makes these nodes.
for (const name of ["linear_activation", "linear_add", "linear_glu", "linear_backward_input_add"])
  defineOp({ name, infer: wantedType });
const columnSumNode = defineOp({
  name: "column_sum",
  infer: ([dy]) => [{ dtype: "f32", shape: [needFloat("column_sum", "dy", dy, 2).dim(1)] }],
});

/** Sums the rows of dy: the gradient of a bias. @param dy (rows, n) @returns (n) f32 */
export function columnSum(dy: Value): Value {
  return columnSumNode([dy])[0]!;
}

/**
 * How activations are rounded before matrix products with quantized or bf16 weights. `f32` does not round. `int8` rounds to 8 bits in
 * groups of 32 for quantized weights, and to e4m3 in groups of 128 for 8-bit floats. For bf16 weights it rounds to bf16. With many rows,
 * CUDA and processors with matrix tiles (AMX) instead round activations and quantized weights to bf16, which is more exact.
 */
export type QuantizedActivations = "int8" | "f32";

const OPTIONS = ["transposed", "rowwise", "activations", "fp8"] as const;

/** Options of `linear`. */
export interface LinearOptions {
  /**
   * Whether the weight is stored as (inputs, outputs), as in GPT-2's Conv1D. A quantized weight must not be transposed.
   */
  transposed?: boolean | undefined;
  /** Whether the bits of each row of the result depend on that row alone, not on the number of rows. Slower for many rows. */
  rowwise?: boolean | undefined;
  /** Rounding of activations for quantized or bf16 weights. Default: `f32`. Gradients ignore the rounding. */
  activations?: QuantizedActivations | undefined;
  /**
   * Whether the product and those of its gradients round both operands to 8-bit floats (e4m3), as in DeepSeek-V3 (2024, 3.3). The first
   * operand has a scale for each group of 128 elements along the summed dimension, the second for each block of 128 × 128. Scales are
   * powers of two. An infinite or NaN element makes its whole group or block NaN. The weight must not be quantized. Cannot be combined with
   * `rowwise` and `activations`. Default: false.
   */
  fp8?: boolean | undefined;
}

/**
 * Returns y = x·Wᵀ + b.
 * @param x (rows, inputs)
 * @param weight (outputs, inputs); f32, bf16, f16 or quantized
 * @param bias (outputs)
 * @returns (rows, outputs) in x's dtype; sums are accumulated in f32. The weight's gradient is f32.
 */
export function linear(x: Value, weight: Value, bias?: Value, options: LinearOptions = {}): Value {
  const {
    transposed = false,
    rowwise = false,
    activations = "f32",
    fp8 = false,
  } = needNames("linear: options", options, OPTIONS);
  const narrow = activations === "int8";
  needValue("linear: x", x);
  needValue("linear: weight", weight);
  if (fp8) {
    if (rowwise || narrow)
      throw invalidArgument("linear: fp8", `false with ${rowwise ? "rowwise" : "activations"}`, fp8);
    if (isQuantized(weight.dtype)) fail("linear", "weight", "f32, bf16 or f16, because of fp8", weight.dtype);
    return fp8Product([x, weight, bias], { a_transposed: 0, b_transposed: transposed ? 0 : 1 })[0]!;
  }
  const attributes = {
    transposed: transposed ? 1 : 0,
    rowwise: rowwise ? 1 : 0,
    ...(narrow && isQuantized(weight.dtype) && { int8: 1 }),
    ...(narrow && weight.dtype === "bf16" && x.dtype === "f32" && { bf16: 1 }),
  };
  return linearNode([x, weight, bias], attributes)[0]!;
}

/** Returns aᵀ·b. It has no gradient. @param a (rows, n) @param b (rows, k) @returns (n, k) f32 */
export function transposedProduct(a: Value, b: Value): Value {
  needValue("transposedProduct: a", a);
  needDim("transposed product", "rows of b", needFloat("transposed product", "b", b, 2).dim(0), a.dim(0));
  return backwardWeight([a, b], { transposed: 0 }, [{ dtype: "f32", shape: [a.dim(1), b.dim(1)] }])[0]!;
}
