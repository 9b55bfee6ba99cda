import { invalidArgument } from "../../core/errors.ts";
import { fail, needFloat, needNames, needNumber, needShape } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Value } from "../value.ts";
import { scale } from "./elementwise.ts";

/** Numbers of the functions in native code: see `Function` in native/ops/unary.cc. */
const FUNCTIONS = {
  exp: 0,
  log: 1,
  sigmoid: 2,
  log_sigmoid: 3,
  tanh: 4,
  relu: 5,
  abs: 6,
  sqrt: 7,
  reciprocal: 8,
  log1mexp: 9,
} as const;

const like = (v: Value) => ({ dtype: v.dtype, shape: v.shape });

function sameType(op: string, a: Value | undefined, b: Value | undefined): Value {
  const x = needFloat(op, "first operand", a);
  const y = needShape(op, "second operand", needFloat(op, "second operand", b), x.shape);
  if (x.dtype !== y.dtype) fail(op, "second operand", x.dtype, y.dtype);
  return x;
}

const unaryNode = defineOp({
  name: "unary",
  infer: ([x]) => [like(needFloat("unary", "x", x))],
  vjp: ({ inputs: [x], attributes }, [dy]) => [unaryBackwardNode([dy, x], attributes)[0]],
});
const unaryBackwardNode = defineOp({
  name: "unary_backward",
  infer: ([dy, x]) => [like(sameType("unary_backward", dy, x))],
});
const unary = (x: Value, name: keyof typeof FUNCTIONS): Value => unaryNode([x], { function: FUNCTIONS[name] })[0]!;

/** Returns eˣ. */
export function exp(x: Value): Value {
  return unary(x, "exp");
}
/** Returns the natural logarithm of x. */
export function log(x: Value): Value {
  return unary(x, "log");
}
/** Returns 1 / (1 + e⁻ˣ). */
export function sigmoid(x: Value): Value {
  return unary(x, "sigmoid");
}
/** Returns log(1 / (1 + e⁻ˣ)), without overflow. */
export function logSigmoid(x: Value): Value {
  return unary(x, "log_sigmoid");
}
/** Returns log(1 + eˣ), without overflow. */
export function softplus(x: Value): Value {
  return scale(logSigmoid(scale(x, -1)), -1);
}
/** Returns the hyperbolic tangent of x. */
export function tanh(x: Value): Value {
  return unary(x, "tanh");
}
/** Returns max(x, 0). Its derivative at 0 is 0. */
export function relu(x: Value): Value {
  return unary(x, "relu");
}
/** Returns the absolute value of x. Its derivative at 0 is 0. */
export function abs(x: Value): Value {
  return unary(x, "abs");
}
/** Returns √x. */
export function sqrt(x: Value): Value {
  return unary(x, "sqrt");
}
/** Returns 1 / x. */
export function reciprocal(x: Value): Value {
  return unary(x, "reciprocal");
}
/**
 * Returns log(1 − eˣ) for x < 0. If x is an event's log-probability, the result is that of the complement (Maechler
 * 2012).
 */
export function log1mexp(x: Value): Value {
  return unary(x, "log1mexp");
}

/** Means "no bound". The value exceeds every f32, and is finite because attributes must be finite. */
const UNBOUNDED = 3.5e38;

const clampNode = defineOp({
  name: "clamp",
  infer: ([x]) => [like(needFloat("clamp", "x", x))],
  vjp: ({ inputs: [x], attributes }, [dy]) => [clampBackwardNode([dy, x], attributes)[0]],
});
const clampBackwardNode = defineOp({
  name: "clamp_backward",
  infer: ([dy, x]) => [like(sameType("clamp_backward", dy, x))],
});
/** Clamps x to [low, high]; either bound may be omitted. The gradient passes where low ≤ x ≤ high. */
export function clamp(x: Value, options: { low?: number | undefined; high?: number | undefined }): Value {
  const { low = -UNBOUNDED, high = UNBOUNDED } = needNames("clamp: options", options, ["low", "high"]);
  needNumber("clamp: low", low);
  needNumber("clamp: high", high);
  if (!(low <= high)) throw invalidArgument("clamp: low", `at most high, ${high}`, low);
  return clampNode([x], { low: Math.max(low, -UNBOUNDED), high: Math.min(high, UNBOUNDED) })[0]!;
}

const minimumNode = defineOp({
  name: "minimum",
  infer: ([a, b]) => [like(sameType("minimum", a, b))],
  vjp: ({ inputs: [a, b] }, [dy]) => minimumBackwardNode([dy, a, b]),
});
const minimumBackwardNode = defineOp({
  name: "minimum_backward",
  infer([dy, a, b]) {
    const type = like(sameType("minimum_backward", a, b));
    sameType("minimum_backward", a, dy);
    return [type, type];
  },
});
/** Returns the elementwise minimum. The gradient goes to the smaller operand, and half to each if they are equal. */
export function minimum(a: Value, b: Value): Value {
  return minimumNode([a, b])[0]!;
}
/** Returns the elementwise maximum. */
export function maximum(a: Value, b: Value): Value {
  return scale(minimum(scale(a, -1), scale(b, -1)), -1);
}

const stopNode = defineOp({
  name: "stop_gradient",
  infer: ([x]) => [like(needFloat("stop_gradient", "x", x))],
  vjp: () => [undefined],
});
/** Returns x as a constant, through which no gradient passes. It copies nothing. */
export function stopGradient(x: Value): Value {
  return stopNode([x])[0]!;
}
