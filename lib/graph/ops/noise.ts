import { needDType, needFloat, needNames, needShape } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import type { Value } from "../value.ts";

function check(op: string, x: Value | undefined, noise: Value | undefined) {
  const v = needFloat(op, "x", x);
  needShape(op, "noise", needDType(op, "noise", noise, "i32", 1), [3]);
  return [{ dtype: v.dtype, shape: v.shape }];
}

const dropoutNode = defineOp({
  name: "dropout",
  infer: ([x, noise]) => check("dropout", x, noise),
  vjp: ({ inputs: [, noise], attributes }, [dy]) => [dropoutNode([dy, noise], attributes)[0], undefined],
});

/** Options of ops that draw random numbers. */
export interface NoiseOptions {
  /** An integer below 2³² that separates the draws of this node from those of other nodes. */
  stream: number;
}

/**
 * Dropout (Srivastava et al. 2014): sets each element to 0 with probability `p`, and divides the others by 1 − p. The gradient has the
 * same mask.
 * @param noise (3) i32: seed, step, micro-batch. An element's draw depends only on these, the stream and the element's index
 */
export function dropout(x: Value, noise: Value, options: NoiseOptions & { p: number }): Value {
  const { p, stream } = needNames("dropout: options", options, ["p", "stream"]);
  return p === 0 ? x : dropoutNode([x, noise], { p, stream })[0]!;
}

const uniformNode = defineOp({
  name: "uniform_noise",
  infer: ([x, noise]) => check("uniform_noise", x, noise),
  vjp: (_, [dy]) => [dy, undefined],
});
/** Returns x + scale · u, with u uniform in [−1, 1) per element. @param noise as in dropout */
export function uniformNoise(x: Value, noise: Value, options: NoiseOptions & { scale: number }): Value {
  const { scale, stream } = needNames("uniformNoise: options", options, ["scale", "stream"]);
  return scale === 0 ? x : uniformNode([x, noise], { scale, stream })[0]!;
}
