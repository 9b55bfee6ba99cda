import { add, clamp, exp, maximum, minimum, mul, scale, sub, type Value } from "../../graph/index.ts";
import { square } from "./square.ts";

/**
 * The clipped objective of proximal policy optimization (Schulman et al. 2017), to be minimized: −min(r A, clip(r) A). r is the ratio of
 * the current probabilities to those when the tokens were drawn.
 * @param tokens (rows) f32 each @returns losses and ratio, (rows) f32
 */
export function clippedPolicyLoss(
  { logprobs, oldLogprobs, advantages }: { logprobs: Value; oldLogprobs: Value; advantages: Value },
  { cliprange }: { cliprange: number },
): { losses: Value; ratio: Value } {
  const ratio = exp(sub(logprobs, oldLogprobs));
  const clipped = clamp(ratio, { low: 1 - cliprange, high: 1 + cliprange });
  return { losses: scale(minimum(mul(ratio, advantages), mul(clipped, advantages)), -1), ratio };
}

/**
 * Importance weights of tokens that another model drew: the probability under the policy divided by that under the sampler, at most `cap`.
 * Truncated importance sampling (Ionides 2008; Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training").
 */
export function truncatedRatios(logprobs: ArrayLike<number>, sampler: ArrayLike<number>, cap: number): Float32Array {
  return Float32Array.from(logprobs, (logprob, t) => Math.min(cap, Math.exp(logprob - sampler[t]!)));
}

/**
 * Half the squared error of the values. Takes the larger of two errors: of the value itself, and of the value clipped
 * to within `cliprangeValue` of the value when the token was drawn.
 * @param tokens (rows) f32 each
 * @returns (rows) f32
 */
export function clippedValueLoss(
  { values, oldValues, returns }: { values: Value; oldValues: Value; returns: Value },
  { cliprangeValue }: { cliprangeValue: number },
): Value {
  const moved = clamp(sub(values, oldValues), { low: -cliprangeValue, high: cliprangeValue });
  return scale(maximum(square(sub(values, returns)), square(sub(add(oldValues, moved), returns))), 0.5);
}
