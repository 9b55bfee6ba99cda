import { isQuantized } from "../dtype.ts";
import { fail, needDim, needDType, needFloat, needNames, needWeight } from "../expect.ts";
import { defineOp } from "../op-table.ts";
import { type TensorType, Value } from "../value.ts";
import { add, affine, broadcast, softcap as capAt, cast, mul, scale as scaleBy, sub, sum } from "./elementwise.ts";
import { reshape } from "./layout.ts";
import { linear, type QuantizedActivations } from "./linear.ts";

const logprobNode = defineOp({
  name: "token_logprob",
  infer([h, w, targets, bias]) {
    const hidden = needFloat("token_logprob", "hidden", h, 2);
    needDim("token_logprob", "width of the weight", needWeight("token_logprob", "weight", w).dim(1), hidden.dim(1));
    needDim("token_logprob", "targets", needDType("token_logprob", "targets", targets, "i32", 1).dim(0), hidden.dim(0));
    if (bias) needDim("token_logprob", "bias", needDType("token_logprob", "bias", bias, "f32", 1).dim(0), w!.dim(0));
    const rows = { dtype: "f32" as const, shape: [hidden.dim(0)] };
    return [rows, rows];
  },
  vjp({ inputs: [h, w, targets, bias], outputs: [, lse], attributes }, [dy, dlse], [, weightToo, , biasToo]) {
    const operands = [
      dy ?? scaleBy(dlse!, 0),
      h,
      w,
      targets,
      lse,
      ...(dlse || bias ? [dlse] : []),
      ...(bias ? [bias] : []),
    ];
    const types: TensorType[] = [{ dtype: h!.dtype, shape: h!.shape }];
    // A frozen weight's gradient would be a third of the products; a quantised weight is always frozen.
    const ofWeight = weightToo && !isQuantized(w!.dtype);
    if (ofWeight) types.push({ dtype: "f32", shape: w!.shape });
    if (bias && biasToo) types.push({ dtype: "f32", shape: bias.shape });
    const [dh, ...others] = backwardNode(operands, attributes, types);
    return [dh, ofWeight ? others.shift() : undefined, undefined, others[0]];
  },
});
const backwardNode = defineOp({ name: "token_logprob_backward", infer: (_, __, wanted) => wanted });
// Made by lib/graph/passes/fuse.ts alone, from both.
defineOp({ name: "token_logprob_with_gradient", infer: (_, __, wanted) => wanted });

/** How hidden states become logits: options of `tokenLogprob` and its kin. */
export interface LogprobOptions {
  /** tanh soft cap of the logits (Gemma 2); undefined: none. */
  softcap?: number | undefined;
  /** Multiplies the logits; 1 where not given. */
  scale?: number | undefined;
}

const LOGITS = ["softcap", "scale"] as const;
const HEAD = [...LOGITS, "weight", "bias", "activations"] as const;

/** The head that turns hidden states into logits: the matrix, and the family's operations on the products. */
export interface LogitHead extends LogprobOptions {
  /** (vocabulary, width), floating or quantised */
  weight: Value;
  /** (vocabulary), added to the products (Phi) */
  bias?: Value | undefined;
  /** How hidden states meet a quantised matrix in `logitsOf`. */
  activations?: QuantizedActivations | undefined;
}

/** Logits of all rows, for where they are few. @param hidden (rows, width) @returns (rows, vocabulary) */
export function logitsOf(hidden: Value, head: LogitHead, options: { rowwise?: boolean | undefined } = {}): Value {
  const { rowwise = false } = needNames("logitsOf: options", options, ["rowwise"]);
  const { weight, bias, scale = 1, softcap, activations } = needNames("logitsOf: head", head, HEAD);
  const products = linear(hidden, weight, bias, { rowwise, activations });
  const scaled = scale === 1 ? products : scaleBy(products, scale);
  return softcap ? capAt(scaled, softcap) : scaled;
}

/**
 * log p(target) under softmax(hidden·Wᵀ), without the (rows, vocabulary) matrix in memory: chunks of the vocabulary
 * forward and backward (the online softmax of Milakov & Gimelshein 2018).
 * @param hidden (rows, width) @param head a model's head, or a matrix (vocabulary, width), floating or quantised, with `options`
 * @param targets (rows) i32; a negative one is ignored: 0
 * @returns logprob and logsumexp of the logits, both (rows) f32 and differentiable; where the target is ignored, the
 *   logsumexp is any finite number, without a gradient
 */
export function tokenLogprob(
  hidden: Value,
  head: Value | LogitHead,
  targets: Value,
  options: LogprobOptions = {},
): { logprob: Value; logsumexp: Value } {
  needNames("tokenLogprob: options", options, LOGITS);
  const of: LogitHead =
    head instanceof Value ? { weight: head, ...options } : needNames("tokenLogprob: head", head, HEAD);
  const { weight, bias, softcap = 0, scale = 1 } = of;
  const added = bias && bias.dtype !== "f32" ? cast(bias, "f32") : bias;
  const [logprob, logsumexp] = logprobNode([hidden, weight, targets, ...(added ? [added] : [])], { softcap, scale });
  return { logprob: logprob!, logsumexp: logsumexp! };
}

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions extends LogprobOptions {
  /** Adds zLoss · logsumexp² at each position: logits stay small (Chowdhery et al. 2022, "PaLM", there 1e-4). Default 0. */
  zLoss?: number | undefined;
  /**
   * Share of the target that goes to all tokens alike (Szegedy et al. 2016), as transformers' label_smoothing_factor. Not with a softcap or a
   * quantised matrix: the mean of a row's logits is taken by the mean of the matrix's rows. Default 0.
   */
  labelSmoothing?: number | undefined;
}

/**
 * −Σ weights · log p(target), (1) f32: cross-entropy with `weights` = 1/count at the positions that count, 0 elsewhere.
 * @param weights (rows) f32
 */
export function crossEntropy(
  hidden: Value,
  head: Value | LogitHead,
  targets: Value,
  weights: Value,
  given: CrossEntropyOptions = {},
): Value {
  needNames("crossEntropy: options", given, [...LOGITS, "zLoss", "labelSmoothing"]);
  const { zLoss = 0, labelSmoothing = 0, ...options } = given;
  const { logprob, logsumexp } = tokenLogprob(hidden, head, targets, options);
  const smoothed = (share: number) => {
    const one = affine(sum(weights), 0, 1);
    const mean = meanLogit(hidden, head instanceof Value ? { weight: head, ...options } : head, one);
    const uniform = sub(mean, logsumexp);
    return add(scaleBy(logprob, 1 - share), scaleBy(uniform, share));
  };
  const learned = labelSmoothing === 0 ? logprob : smoothed(labelSmoothing);
  const value = zLoss === 0 ? learned : sub(learned, scaleBy(mul(logsumexp, logsumexp), zLoss));
  return scaleBy(sum(mul(value, weights)), -1);
}

/**
 * The mean of each row's logits, without the (rows, vocabulary) matrix: the product with the mean of the weight's rows.
 * @param one (1) f32 @returns (rows) f32
 */
function meanLogit(hidden: Value, { weight, bias, scale = 1, softcap }: LogitHead, one: Value): Value {
  if (softcap) fail("cross_entropy", "softcap", "no softcap together with labelSmoothing", softcap);
  if (isQuantized(weight.dtype))
    fail("cross_entropy", "weight", "a floating type together with labelSmoothing", weight.dtype);
  const vocabulary = weight.dim(0);
  if (typeof vocabulary !== "number")
    fail("cross_entropy", "vocabulary", "a fixed size together with labelSmoothing", "a symbol");
  const shares = broadcast(scaleBy(one, scale / vocabulary), [1, vocabulary]);
  const row = linear(shares, weight, undefined, { transposed: true });
  const mean = bias && scaleBy(sum(bias), scale / vocabulary);
  return reshape(linear(cast(hidden, "f32"), row, mean), [hidden.dim(0)]);
}
