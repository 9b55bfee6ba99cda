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
    // Skip the gradient of a frozen weight: it would be a third of the work. A quantized weight is always frozen.
    const ofWeight = weightToo && !isQuantized(w!.dtype);
    if (ofWeight) types.push({ dtype: "f32", shape: w!.shape });
    if (bias && biasToo) types.push({ dtype: "f32", shape: bias.shape });
    const [dh, ...others] = backwardNode(operands, attributes, types);
    return [dh, ofWeight ? others.shift() : undefined, undefined, others[0]];
  },
});
const backwardNode = defineOp({ name: "token_logprob_backward", infer: (_, __, wanted) => wanted });
// Only lib/graph/passes/fuse.ts makes these nodes, from a token_logprob and its backward node.
defineOp({ name: "token_logprob_with_gradient", infer: (_, __, wanted) => wanted });

/** Options of `tokenLogprob` and the losses: the scale and soft cap that turn matrix products into logits. */
export interface LogprobOptions {
  /** Soft cap of the logits by tanh (Gemma 2). Default: none. */
  softcap?: number | undefined;
  /** Factor of the logits. Default 1. */
  scale?: number | undefined;
}

const LOGITS = ["softcap", "scale"] as const;
const HEAD = [...LOGITS, "weight", "bias", "activations"] as const;

/** The head that computes logits from hidden states: a matrix, an optional bias, and the family's scale and soft cap. */
export interface LogitHead extends LogprobOptions {
  /** The matrix (vocabulary, width), floating or quantized. */
  weight: Value;
  /** The bias (vocabulary), which is added to the products (Phi). */
  bias?: Value | undefined;
  /** Rounding of hidden states in `logitsOf` for a quantized or bf16 matrix. */
  activations?: QuantizedActivations | undefined;
}

/**
 * Returns the logits of all rows. Use it for few rows, because it materializes the (rows, vocabulary) matrix.
 * @param hidden (rows, width)
 * @returns (rows, vocabulary)
 */
export function logitsOf(hidden: Value, head: LogitHead, options: { rowwise?: boolean | undefined } = {}): Value {
  const { rowwise = false } = needNames("logitsOf: options", options, ["rowwise"]);
  const { weight, bias, scale = 1, softcap, activations } = needNames("logitsOf: head", head, HEAD);
  const products = linear(hidden, weight, bias, { rowwise, activations });
  const scaled = scale === 1 ? products : scaleBy(products, scale);
  return softcap ? capAt(scaled, softcap) : scaled;
}

/**
 * Returns log p(target) under softmax(hidden·Wᵀ). It never has the (rows, vocabulary) matrix in memory: forward and backward pass process
 * the vocabulary in chunks (online softmax, Milakov & Gimelshein 2018).
 * @param hidden (rows, width)
 * @param head a model's head, or a floating or quantized matrix (vocabulary, width)
 * @param targets (rows) i32; the log-probability of a negative target is 0
 * @param options the scale and soft cap of the logits if `head` is a matrix
 * @returns log-probability, and logsumexp of the logits, both (rows) f32 and differentiable. For a negative target the logsumexp is an
 * unspecified finite number without a gradient
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
  /**
   * Weight of an additional loss zLoss · logsumexp² per position, which keeps logits small (Chowdhery et al. 2022, "PaLM", which uses
   * 1e-4). Default 0.
   */
  zLoss?: number | undefined;
  /**
   * Label smoothing: share of the target probability that is spread evenly over all tokens (Szegedy et al. 2016), like
   * transformers' label_smoothing_factor. Not supported with a softcap or a quantized matrix, because the mean logit is
   * computed from the mean of the matrix's rows. Default 0.
   */
  labelSmoothing?: number | undefined;
}

/**
 * Returns −Σ weights · log p(target), (1) f32. For the mean cross-entropy over n targets, `weights` is 1/n at their positions and 0
 * elsewhere.
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
    // The graph has no constants, so compute 1 as 0 · sum + 1.
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
 * Returns the mean of each row's logits, which is the row's product with the mean of the weight's rows. It needs no (rows, vocabulary) matrix.
 * @param one the constant 1, (1) f32 @returns (rows) f32
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
