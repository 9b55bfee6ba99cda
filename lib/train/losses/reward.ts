import { add, logSigmoid, mul, scale, sub, type Value } from "../../graph/index.ts";

interface RewardScores {
  /** (pairs) f32: the model's score of each completion. */
  chosen: Value;
  rejected: Value;
  /** (pairs) f32: margin by which the chosen completion should win (Touvron et al. 2023); absent: 0. */
  margin?: Value | undefined;
}

/**
 * −log σ(chosen − rejected − margin): the negative log-likelihood of the preferences under the model of Bradley and
 * Terry (1952). Adds `centerRewardsCoefficient` · (chosen + rejected)², which keeps scores centered around 0
 * (Eisenstein et al. 2023).
 * @returns losses (pairs) f32
 */
export function rewardLoss(
  { chosen, rejected, margin }: RewardScores,
  { centerRewardsCoefficient = 0 }: { centerRewardsCoefficient?: number } = {},
): Value {
  const won = sub(chosen, rejected);
  const losses = scale(logSigmoid(margin ? sub(won, margin) : won), -1);
  if (centerRewardsCoefficient === 0) return losses;
  const total = add(chosen, rejected);
  return add(losses, scale(mul(total, total), centerRewardsCoefficient));
}
