import { add, logSigmoid, mul, scale, sub, type Value } from "../../graph/index.ts";

export interface RewardScores {
  /** (pairs) f32: the model's score of each completion. */
  chosen: Value;
  rejected: Value;
  /** (pairs) f32: by how much the chosen one should win at least (Touvron et al. 2023); absent: 0. */
  margin?: Value | undefined;
}

/**
 * −log σ(chosen − rejected − margin): the likelihood of the preferences under Bradley and Terry's model (1952), plus
 * `centerRewardsCoefficient` · (chosen + rejected)², which keeps scores around 0 (Eisenstein et al. 2023).
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
