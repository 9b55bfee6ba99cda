import { affine, logSigmoid, relu, scale, sub, type Value } from "../../graph/index.ts";
import { square } from "./square.ts";

/** The forms of the loss; see `dpoLoss`. */
export const dpoLossTypes = ["sigmoid", "ipo", "hinge"] as const;
type DpoLossType = (typeof dpoLossTypes)[number];

/** The log-probabilities that the loss compares. */
export interface DpoLogprobs {
  /** (pairs) f32: log-probability of each completion under the policy; for ipo the mean over its tokens. */
  chosen: Value;
  /** The same for the rejected answers. */
  rejected: Value;
  /** The same values under the reference. */
  referenceChosen: Value;
  /** The same for the rejected answers. */
  referenceRejected: Value;
}

/** Options of `dpoLoss`. */
export interface DpoOptions {
  /** Strength of the penalty for diverging from the reference; for ipo the regularisation τ. */
  beta: number;
  lossType: DpoLossType;
  /** Probability that a preference is inverted (conservative DPO, Mitchell 2023); only for sigmoid. */
  labelSmoothing: number;
}

/**
 * Direct preference optimization: sigmoid (Rafailov et al. 2023), ipo (Azar et al. 2023), hinge (SLiC, Zhao et al.
 * 2023).
 * @returns losses (pairs), and the implicit reward of each completion: β · (log-probability under the policy −
 * log-probability under the reference)
 */
export function dpoLoss(
  { chosen, rejected, referenceChosen, referenceRejected }: DpoLogprobs,
  { beta, lossType, labelSmoothing }: DpoOptions,
): { losses: Value; chosenRewards: Value; rejectedRewards: Value } {
  const [chosenRatio, rejectedRatio] = [sub(chosen, referenceChosen), sub(rejected, referenceRejected)];
  const margin = sub(chosenRatio, rejectedRatio);
  const losses = {
    sigmoid: () => smoothed(margin, beta, labelSmoothing),
    ipo: () => square(affine(margin, 1, -1 / (2 * beta))),
    hinge: () => relu(affine(margin, -beta, 1)),
  }[lossType]();
  return { losses, chosenRewards: scale(chosenRatio, beta), rejectedRewards: scale(rejectedRatio, beta) };
}

/** −(1 − ε) · log σ(β m) − ε · log σ(−β m) = −log σ(β m) + ε β m */
function smoothed(margin: Value, beta: number, epsilon: number): Value {
  const loss = scale(logSigmoid(scale(margin, beta)), -1);
  return epsilon === 0 ? loss : sub(loss, scale(margin, -epsilon * beta));
}
