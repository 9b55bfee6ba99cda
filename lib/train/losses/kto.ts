import {
  affine,
  broadcast,
  clamp,
  mul,
  scale,
  sigmoid,
  stopGradient,
  sub,
  sum,
  type Value,
} from "../../graph/index.ts";

/** The forms of the loss; see `ktoLoss`. */
export const ktoLossTypes = ["kto", "apo_zero_unpaired"] as const;
/** The name of a form of the loss. */
export type KtoLossType = (typeof ktoLossTypes)[number];

interface KtoLogprobs {
  /** (completions) f32: policy minus reference log-probability of each completion. */
  ratio: Value;
  /** (completions) f32: 1 for a desirable completion, −1 for an undesirable completion. */
  sign: Value;
  /**
   * (1) f32, at least 0: estimate of the divergence of the policy from the reference, which is subtracted from each
   * completion's ratio. Default: 0 (apo_zero_unpaired, D'Oosterlinck et al. 2024).
   */
  kl?: Value | undefined;
}

/**
 * Kahneman–Tversky optimization (Ethayarajh et al. 2024), over single answers that are good or bad: 1 − σ(±β (ratio − kl)).
 * @returns losses (completions), and the implicit rewards β · ratio
 */
export function ktoLoss(
  { ratio, sign, kl }: KtoLogprobs,
  { beta }: { beta: number },
): { losses: Value; rewards: Value } {
  const distance = kl ? sub(ratio, broadcast(kl, ratio.shape)) : ratio;
  return { losses: affine(sigmoid(scale(mul(sign, distance), beta)), -1, 1), rewards: scale(ratio, beta) };
}

/**
 * The mean ratio of mismatched completions, at least 0, without a gradient.
 * @param ratio (completions) f32: policy minus reference log-probability @param weights (completions) f32, which add up to 1
 */
export function ktoDivergence(ratio: Value, weights: Value): Value {
  return clamp(stopGradient(sum(mul(ratio, weights))), { low: 0 });
}
