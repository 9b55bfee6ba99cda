import { invalidArgument } from "../../core/errors.ts";
import type { FloatDType } from "../dtype.ts";
import { fail, needDType, needFloat, needNames, needShape, needValue } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Shape, Value } from "../value.ts";

const like = (v: Value) => [{ dtype: v.dtype, shape: v.shape }];

function sameType(op: string, a: Value, b: Value): void {
  needShape(op, "second operand", b, a.shape);
  if (a.dtype !== b.dtype) fail(op, "second operand", a.dtype, b.dtype);
}

const addNode = defineOp({
  name: "add",
  infer([a, b]) {
    const x = needFloat("add", "first operand", a);
    sameType("add", x, needFloat("add", "second operand", b));
    return like(x);
  },
  vjp: (_, [dy]) => [dy, dy],
});
/** Returns a + b, elementwise. Both have the same shape and dtype. */
export function add(a: Value, b: Value): Value {
  return addNode([a, b])[0]!;
}

const mulNode = defineOp({
  name: "mul",
  infer([a, b]) {
    const x = needFloat("mul", "first operand", a);
    sameType("mul", x, needFloat("mul", "second operand", b));
    return like(x);
  },
  vjp: ({ inputs: [a, b] }, [dy]) => [mul(dy!, b!), mul(dy!, a!)],
});
/** Returns a · b, elementwise. Both have the same shape and dtype. */
export function mul(a: Value, b: Value): Value {
  return mulNode([a, b])[0]!;
}

/** Returns a − b, elementwise. Both have the same shape and dtype. */
export function sub(a: Value, b: Value): Value {
  return add(a, scale(b, -1));
}

const affineNode = defineOp({
  name: "affine",
  infer: ([x]) => like(needFloat("affine", "x", x)),
  vjp: ({ attributes }, [dy]) => [scale(dy!, attributes.factor!)],
});
/** Returns factor · x + offset. */
export function affine(x: Value, factor: number, offset: number): Value {
  return affineNode([x], { factor, offset })[0]!;
}
/** Returns factor · x. */
export function scale(x: Value, factor: number): Value {
  return affine(x, factor, 0);
}

const softcapNode = defineOp({
  name: "softcap",
  infer: ([x]) => like(needFloat("softcap", "x", x)),
  vjp: ({ inputs: [x], attributes }, [dy]) => softcapBackwardNode([dy, x], attributes),
});
const softcapBackwardNode = defineOp({
  name: "softcap_backward",
  infer([dy, x]) {
    sameType("softcap_backward", needFloat("softcap_backward", "dy", dy), needFloat("softcap_backward", "x", x));
    return like(x!);
  },
});
/** Returns cap · tanh(x / cap), which is between −cap and cap (Gemma 2). */
export function softcap(x: Value, cap: number): Value {
  return softcapNode([x], { cap })[0]!;
}

const sumNode = defineOp({
  name: "sum",
  infer: ([x]) => {
    needFloat("sum", "x", x);
    return [{ dtype: "f32", shape: [1] }];
  },
  vjp: ({ inputs: [x] }, [dy]) => [broadcast(dy!, x!.shape, x!.dtype as FloatDType)],
});
/** Returns the sum of all elements, (1) f32. */
export function sum(x: Value): Value {
  return sumNode([x])[0]!;
}

const broadcastNode = defineOp({
  name: "broadcast",
  infer([x], _, wanted) {
    needShape("broadcast", "x", needDType("broadcast", "x", x, "f32", 1), [1]);
    return wanted;
  },
  vjp: (_, [dy]) => [sum(dy!)],
});
/** Returns a value of shape `shape` whose elements all equal the scalar x. @param x (1) f32 */
export function broadcast(x: Value, shape: Shape, dtype: FloatDType = "f32"): Value {
  return broadcastNode([x], {}, [{ dtype, shape }])[0]!;
}

const castNode = defineOp({
  name: "cast",
  infer([x], _, wanted) {
    needFloat("cast", "x", x);
    return wanted;
  },
  vjp: ({ inputs: [x] }, [dy]) => [cast(dy!, x!.dtype as FloatDType)],
});
/** Converts x to another float type, rounding to nearest even. Returns x itself if it has that type. */
export function cast(x: Value, dtype: FloatDType): Value {
  needValue("cast: x", x);
  return x.dtype === dtype ? x : castNode([x], {}, [{ dtype, shape: x.shape }])[0]!;
}

const ACTIVATIONS = { silu: 0, gelu_tanh: 1, gelu: 2 } as const;
/** The activation of a gated linear unit: SiLU, GELU by tanh, or exact GELU (Hendrycks & Gimpel 2016). @useDeclaredType */
export type Activation = keyof typeof ACTIVATIONS;

const gluNode = defineOp({
  name: "glu",
  infer([gate, up]) {
    const g = needFloat("glu", "gate", gate);
    sameType("glu", g, needFloat("glu", "up", up));
    return like(g);
  },
  vjp: ({ inputs: [gate, up], attributes }, [dy]) => gluBackwardNode([dy, gate, up], attributes),
});
const gluBackwardNode = defineOp({
  name: "glu_backward",
  infer([dy, gate, up]) {
    sameType("glu_backward", needFloat("glu_backward", "dy", dy), needFloat("glu_backward", "gate", gate));
    return [...like(gate!), ...like(up!)];
  },
});
/** Gated linear unit: act(gate) · up (Shazeer 2020, "GLU Variants Improve Transformer"). It is SwiGLU with silu and GeGLU with a gelu. */
export function glu(gate: Value, up: Value, activation: Activation = "silu"): Value {
  if (typeof activation !== "string" || !Object.hasOwn(ACTIVATIONS, activation))
    throw invalidArgument("glu: activation", `one of ${Object.keys(ACTIVATIONS).join(", ")}`, activation);
  return gluNode([gate, up], { activation: ACTIVATIONS[activation] })[0]!;
}
/** Returns silu(gate) · up. */
export function swiglu(gate: Value, up: Value): Value {
  return glu(gate, up, "silu");
}

const geluNode = defineOp({
  name: "gelu",
  infer: ([x]) => like(needFloat("gelu", "x", x)),
  vjp: ({ inputs: [x], attributes }, [dy]) => geluBackwardNode([dy, x], attributes),
});
const geluBackwardNode = defineOp({
  name: "gelu_backward",
  infer([dy, x]) {
    sameType("gelu_backward", needFloat("gelu_backward", "dy", dy), needFloat("gelu_backward", "x", x));
    return like(x!);
  },
});
/** Returns the GELU of x: exact by erf (the default), or by the tanh approximation (GPT-2, Gemma). */
export function gelu(x: Value, options: { approximate?: "tanh" | "none" | undefined } = {}): Value {
  const { approximate = "none" } = needNames("gelu: options", options, ["approximate"]);
  return geluNode([x], { tanh: approximate === "tanh" ? 1 : 0 })[0]!;
}

const softmaxNode = defineOp({
  name: "softmax",
  infer: ([x]) => like(needFloat("softmax", "x", x)),
  vjp: ({ outputs: [y] }, [dy]) => softmaxBackwardNode([dy, y]),
});
const softmaxBackwardNode = defineOp({
  name: "softmax_backward",
  infer([dy, y]) {
    sameType("softmax_backward", needFloat("softmax_backward", "dy", dy), needFloat("softmax_backward", "y", y));
    return like(y!);
  },
});
/** Returns the softmax over the last dimension. */
export function softmax(x: Value): Value {
  return softmaxNode([x])[0]!;
}

const logSoftmaxNode = defineOp({
  name: "log_softmax",
  infer: ([x]) => like(needFloat("log_softmax", "x", x)),
  vjp: ({ outputs: [y] }, [dy]) => logSoftmaxBackwardNode([dy, y]),
});
const logSoftmaxBackwardNode = defineOp({
  name: "log_softmax_backward",
  infer([dy, y]) {
    sameType(
      "log_softmax_backward",
      needFloat("log_softmax_backward", "dy", dy),
      needFloat("log_softmax_backward", "y", y),
    );
    return like(y!);
  },
});
/** Returns log(softmax(x)) over the last dimension, without underflow. */
export function logSoftmax(x: Value): Value {
  return logSoftmaxNode([x])[0]!;
}
