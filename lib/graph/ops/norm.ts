import { fail, needDim, needFloat, needNames, needShape } from "../expect.ts";
import { defineOp, type Operands } from "../op-table.ts";
import type { Value } from "../value.ts";
import { add } from "./elementwise.ts";

const type = (v: Value) => ({ dtype: v.dtype, shape: v.shape });
const vector = (v: Value) => ({ dtype: "f32" as const, shape: v.shape });

function check(
  op: string,
  x: Value | undefined,
  w: Value | undefined,
  b: Value | undefined,
  residual: Value | undefined,
) {
  const input = needFloat(op, "x", x);
  needDim(op, "weight", needFloat(op, "weight", w, 1).dim(0), input.dim(-1));
  if (b) needDim(op, "bias", needFloat(op, "bias", b, 1).dim(0), input.dim(-1));
  if (!residual) return [type(input)];
  needShape(op, "residual", residual, input.shape);
  if (residual.dtype !== input.dtype) fail(op, "residual", input.dtype, residual.dtype);
  return [type(input), type(input)];
}

const rmsNode = defineOp({
  name: "rms_norm",
  infer: ([x, w, residual]) => check("rms_norm", x, w, undefined, residual),
  vjp({ inputs: [x, w, residual], outputs, attributes }, [dy, dh]) {
    if (!dy) return [dh, undefined, dh];
    const [dx, dw] = rmsBackwardNode([dy, residual ? outputs[1] : x, w, dh], attributes);
    return [dx, dw, residual && dx];
  },
});
const rmsBackwardNode = defineOp({ name: "rms_norm_backward", infer: ([, h, w]) => [type(h!), vector(w!)] });

const layerNode = defineOp({
  name: "layer_norm",
  infer: ([x, w, b, residual]) => check("layer_norm", x, w, b, residual),
  vjp({ inputs: [x, w, b, residual], outputs, attributes }, [dy, dh]): Operands {
    if (!dy) return [dh, undefined, undefined, dh];
    const [dx, dw, db] = layerBackwardNode([dy, residual ? outputs[1] : x, w, dh], attributes);
    return [dx, dw, b && db, residual && dx];
  },
});
const layerBackwardNode = defineOp({
  name: "layer_norm_backward",
  infer: ([, h, w]) => [type(h!), vector(w!), vector(w!)],
});

/** The result of a norm (`y`), and the value before the norm, which is the residual stream (`h`). */
export interface Normed {
  /** The normalized h, in the shape of x. */
  y: Value;
  /** x + residual if a residual was given, otherwise x. */
  h: Value;
}

/**
 * Root-mean-square norm over the last dimension (Zhang & Sennrich 2019): h = x + residual,
 * y = h / √(mean(h²) + eps) · (offset + weight).
 * @param x (…, width) @param weight (width) @param options.offset 1 for Gemma
 */
export function rmsNorm(
  x: Value,
  weight: Value,
  options: { eps: number; offset?: number | undefined; residual?: Value | undefined },
): Normed {
  const { eps, offset = 0, residual } = needNames("rmsNorm: options", options, ["eps", "offset", "residual"]);
  const [y, h] = rmsNode([x, weight, residual], { eps, offset });
  return { y: y!, h: h ?? x };
}

/**
 * Layer norm over the last dimension (Ba et al. 2016): h = x + residual, y = (h − mean) / √(var + eps) · weight + bias.
 * @param x (…, width) @param weight (width) @param options.bias (width)
 */
export function layerNorm(
  x: Value,
  weight: Value,
  options: { eps: number; bias?: Value | undefined; residual?: Value | undefined },
): Normed {
  const { eps, bias, residual } = needNames("layerNorm: options", options, ["eps", "bias", "residual"]);
  const [y, h] = layerNode([x, weight, bias, residual], { eps });
  return { y: y!, h: h ?? x };
}

/** Adds a block's output to the residual stream without a norm. The first block has no `residual`. */
export function joinResidual(x: Value, residual: Value | undefined): Value {
  return residual ? add(x, residual) : x;
}
