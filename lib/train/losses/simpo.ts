import { affine, logSigmoid, scale, sub, type Value } from "../../graph/index.ts";

interface SimpoLogprobs {
  /** (pairs) f32: mean log-probability of the tokens of each completion. */
  chosen: Value;
  rejected: Value;
}

/** Options of `simpoLoss`. */
export interface SimpoOptions {
  /** Factor of the mean log-probabilities. */
  beta: number;
  /** Margin by which the reward of the chosen completion should exceed that of the rejected completion. */
  gamma: number;
}

/**
 * SimPO (Meng et al. 2024): −log σ(β · (chosen − rejected) − γ). It needs no reference.
 * @returns losses (pairs), and β times the mean log-probability of each completion: its implicit reward
 */
export function simpoLoss(
  { chosen, rejected }: SimpoLogprobs,
  { beta, gamma }: SimpoOptions,
): { losses: Value; chosenRewards: Value; rejectedRewards: Value } {
  const losses = scale(logSigmoid(affine(sub(chosen, rejected), beta, -gamma)), -1);
  return { losses, chosenRewards: scale(chosen, beta), rejectedRewards: scale(rejected, beta) };
}
