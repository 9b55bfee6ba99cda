// Advantages: arithmetic on the numbers of a rollout, before any graph runs.
import { mean } from "../../metrics/mean.ts";

/** The divisors of advantages; see `groupAdvantages`. */
export const rewardScales = ["group", "batch", "none"] as const;
type RewardScale = (typeof rewardScales)[number];

/** Added to standard deviations, so that equal rewards give a zero advantage instead of NaN. */
const SMALL = 1e-4;

/**
 * Computes the advantage of each answer over the others to its prompt (Shao et al. 2024): its reward minus its group's
 * mean, divided by a scale. The scale is the group's standard deviation (`group`), that of all answers (`batch`, Liu et
 * al. 2025b) or 1 (`none`, Dr. GRPO, Liu et al. 2025).
 * @param rewards rewards of the answers, grouped by prompt
 * @param size number of answers to a prompt
 */
export function groupAdvantages(rewards: readonly number[], size: number, scale: RewardScale): Float64Array {
  const out = new Float64Array(rewards.length);
  const all = deviation(rewards);
  for (let start = 0; start < rewards.length; start += size) {
    const group = rewards.slice(start, start + size);
    const center = mean(group);
    const divisor = scale === "none" ? 1 : (scale === "group" ? deviation(group) : all) + SMALL;
    for (const [i, reward] of group.entries()) out[start + i] = (reward - center) / divisor;
  }
  return out;
}

/**
 * Generalized advantage estimation (Schulman et al. 2016) over the tokens of one answer. The value after the last token
 * is 0.
 * @param rewards reward of each token
 * @param values value that was estimated before each token
 * @returns advantages, and returns = advantages + values
 */
export function generalizedAdvantages(
  rewards: ArrayLike<number>,
  values: ArrayLike<number>,
  { gamma, lam }: { gamma: number; lam: number },
): { advantages: Float64Array; returns: Float64Array } {
  const advantages = new Float64Array(rewards.length);
  let running = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    const next = t + 1 < rewards.length ? values[t + 1]! : 0;
    running = rewards[t]! + gamma * next - values[t]! + gamma * lam * running;
    advantages[t] = running;
  }
  return { advantages, returns: advantages.map((a, t) => a + values[t]!) };
}

/**
 * Scales several arrays together to variance 1, in place. Their mean becomes 0, or stays the same if `shift` is false.
 */
export function whiten(arrays: readonly Float64Array[], { shift = true }: { shift?: boolean } = {}): void {
  const all = arrays.flatMap((a) => [...a]);
  const center = mean(all);
  // 1e-8 avoids a division by 0 if all values are equal, as in TRL's masked_whiten.
  const divisor = Math.sqrt(deviation(all) ** 2 + 1e-8);
  for (const array of arrays)
    for (let i = 0; i < array.length; i++) array[i] = (array[i]! - center) / divisor + (shift ? 0 : center);
}

/** Returns the sample standard deviation (divisor n − 1); 0 for fewer than two values. */
export function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(values.reduce((s, v) => s + (v - center) ** 2, 0) / (values.length - 1));
}
