import { isFloat, isQuantized } from "../dtype.ts";
import { fail, need, needDim, needDType, needFloat, needNames, needNumber, needShape, needValue } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import { fixed, type Shape, type TensorType, type Value } from "../value.ts";
import type { QuantizedActivations } from "./linear.ts";

const routeNode = defineOp({
  name: "route_experts",
  infer([logits], _, [wanted]) {
    const l = needFloat("route_experts", "logits", logits, 2);
    const k = wanted!.shape[0] as number;
    if (!(k >= 1 && k <= l.last)) fail("route_experts", "experts a row", `1 to ${l.last}`, k);
    const shape: Shape = [l.dim(0), k];
    return [
      { dtype: "f32", shape },
      { dtype: "i32", shape },
    ];
  },
  vjp: ({ inputs: [logits], outputs: [, experts], attributes }, [dweights]) => [
    dweights && routeBackwardNode([dweights, logits, experts], attributes)[0],
  ],
});
const routeBackwardNode = defineOp({
  name: "route_experts_backward",
  infer: ([, logits]) => [{ dtype: logits!.dtype, shape: logits!.shape }],
});

/** The experts of each row, and their weights. */
export interface Routing {
  /** The weight of each expert's output, (rows, k) f32. */
  weights: Value;
  /** Indices of the experts, most likely first, (rows, k) i32. */
  experts: Value;
}

/**
 * Selects the `k` most likely experts of each row. Their weights are the softmax over all experts. With `normalize` it is the softmax over
 * the selected ones, so that the weights sum to 1 (Shazeer et al. 2017).
 * @param logits (rows, experts)
 */
export function routeExperts(logits: Value, options: { k: number; normalize: boolean }): Routing {
  const { k, normalize } = needNames("routeExperts: options", options, ["k", "normalize"]);
  needNumber("routeExperts: k", k);
  const wanted: TensorType = { dtype: "f32", shape: [k] };
  const [weights, experts] = routeNode([logits], { normalize: normalize ? 1 : 0 }, [wanted]);
  return { weights: weights!, experts: experts! };
}

const linearNode = defineOp({
  name: "expert_linear",
  infer([x, w, experts, bias]) {
    const input = needFloat("expert_linear", "x", x);
    const weight = need("expert_linear", "weight", w);
    const chosen = needDType("expert_linear", "experts", experts, "i32", 2);
    if (weight.rank !== 3 || !(isFloat(weight.dtype) || isQuantized(weight.dtype)))
      fail("expert_linear", "weight", "(experts, outputs, inputs) of a float or quantized type", weight);
    if (input.rank !== 2) {
      if (input.rank !== 3) fail("expert_linear", "x", "(rows, inputs) or (rows, k, inputs)", input);
      needDim("expert_linear", "slots of x", input.dim(1), chosen.dim(1));
    }
    needDim("expert_linear", "rows of x", input.dim(0), chosen.dim(0));
    needDim("expert_linear", "last dimension of x", input.dim(-1), weight.dim(2));
    if (bias)
      needShape("expert_linear", "bias", needFloat("expert_linear", "bias", bias), [weight.dim(0), weight.dim(1)]);
    return [{ dtype: input.dtype, shape: [...chosen.shape, weight.dim(1)] }];
  },
  vjp({ inputs: [x, w, experts, bias] }, [dy]) {
    const like = (v: Value): TensorType => ({ dtype: "f32", shape: v.shape });
    return [
      backwardInputNode([dy, w, experts], {}, [{ dtype: x!.dtype, shape: x!.shape }])[0],
      // A quantized weight is frozen, so it has no gradient.
      isQuantized(w!.dtype) ? undefined : backwardWeightNode([dy, x, experts], {}, [like(w!)])[0],
      undefined,
      bias && biasSumNode([dy, experts], {}, [like(bias)])[0],
    ];
  },
});
const wantedType = (_: unknown, __: unknown, [type]: readonly TensorType[]) => [type!];
const backwardInputNode = defineOp({ name: "expert_linear_backward_input", infer: wantedType });
const backwardWeightNode = defineOp({ name: "expert_linear_backward_weight", infer: wantedType });
const biasSumNode = defineOp({ name: "expert_bias_sum", infer: wantedType });

/**
 * Multiplies each row by the matrices of its experts: y[r, j] = W[experts[r, j]] · x[r] + b[experts[r, j]]. One matrix product
 * computes all rows of an expert.
 * @param x (rows, inputs), or (rows, k, inputs) with an input per expert of the row
 * @param weight (experts, outputs, inputs) @param experts (rows, k) i32 @param options.bias (experts, outputs)
 * @param options.rowwise whether the bits of each row of the result depend on that row alone
 * @param options.activations with `int8`, x is rounded to bf16 before products with bf16 weights. For many rows, CUDA also rounds x and
 * quantized weights to bf16. Default: `f32`. Gradients ignore the rounding.
 * @returns (rows, k, outputs) in x's dtype; the weight's gradient is f32
 */
export function expertLinear(
  x: Value,
  weight: Value,
  experts: Value,
  options: {
    bias?: Value | undefined;
    rowwise?: boolean | undefined;
    activations?: QuantizedActivations | undefined;
  } = {},
): Value {
  const {
    bias,
    rowwise,
    activations = "f32",
  } = needNames("expertLinear: options", options, ["bias", "rowwise", "activations"]);
  needValue("expertLinear: x", x);
  needValue("expertLinear: weight", weight);
  const isInt8 = activations === "int8" && x.dtype === "f32";
  return linearNode([x, weight, experts, bias], {
    rowwise: rowwise ? 1 : 0,
    ...(isInt8 && weight.dtype === "bf16" && { bf16: 1 }),
    ...(isInt8 && isQuantized(weight.dtype) && { may_round: 1 }),
  })[0]!;
}

const combineNode = defineOp({
  name: "combine_experts",
  infer([y, weights]) {
    const output = needFloat("combine_experts", "y", y, 3);
    needShape("combine_experts", "weights", needDType("combine_experts", "weights", weights, "f32", 2), [
      output.dim(0),
      output.dim(1),
    ]);
    return [{ dtype: output.dtype, shape: [output.dim(0), fixed(output.dim(2), "combine_experts: width")] }];
  },
  vjp: ({ inputs: [y, weights] }, [dout]) => combineBackwardNode([dout, y, weights]),
});
const combineBackwardNode = defineOp({
  name: "combine_experts_backward",
  infer: ([, y, weights]) => [
    { dtype: y!.dtype, shape: y!.shape },
    { dtype: "f32", shape: weights!.shape },
  ],
});

/**
 * Sums the outputs of each row's experts, multiplied by their weights.
 * @param y (rows, k, width) @param weights (rows, k) f32
 * @returns (rows, width)
 */
export function combineExperts(y: Value, weights: Value): Value {
  return combineNode([y, weights])[0]!;
}
