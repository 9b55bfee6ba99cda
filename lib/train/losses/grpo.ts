import {
  add,
  affine,
  clamp,
  exp,
  gatherRows,
  minimum,
  mul,
  reshape,
  scale,
  segmentSum,
  stopGradient,
  sub,
  type Value,
} from "../../graph/index.ts";

/** Whether probability ratios are per token or per sequence (GSPO). */
export const importanceSamplingLevels = ["token", "sequence"] as const;
type ImportanceSamplingLevel = (typeof importanceSamplingLevels)[number];

interface GrpoTokens {
  /** (rows) f32: current log-probability of each token; 0 at rows outside an answer. */
  logprobs: Value;
  /**
   * (rows) f32: log-probability when the answers were drawn. Default: the current log-probabilities, which are the same
   * if one step uses up the rollout.
   */
  oldLogprobs?: Value | undefined;
  /** (rows) f32: log-probability under the model that drew the answers, if it is not the policy itself. */
  samplerLogprobs?: Value | undefined;
  /** (rows) f32: the advantage of each token's answer. */
  advantages: Value;
  /** (rows) f32: log-probability under the reference; for a beta above 0. */
  referenceLogprobs?: Value | undefined;
  /** For importanceSamplingLevel "sequence". */
  sequences?:
    | {
        /** (rows) i32: index of each row's answer. */
        ids: Value;
        count: number;
        /** (rows) f32: 1 / length of the answer at each of its tokens, 0 elsewhere. */
        share: Value;
      }
    | undefined;
}

/** Options of `grpoLoss`. */
export interface GrpoOptions {
  /** The ratio is clipped to [1 − epsilon, 1 + epsilonHigh]. */
  epsilon: number;
  epsilonHigh: number;
  /** Upper bound of the ratio for a negative advantage, above 1 + epsilonHigh (INTELLECT-2, 2025). Default: none. */
  delta?: number | undefined;
  /** Weight of the divergence from the reference. */
  beta: number;
  importanceSamplingLevel: ImportanceSamplingLevel;
  /** Maximum importance weight of tokens that another model drew. Default 2. */
  importanceSamplingCap?: number | undefined;
}

/**
 * Group-relative policy optimization (Shao et al. 2024) of tokens: −min(r A, clip(r) A) + β · KL. The divergence is
 * estimated without bias by exp(d) − d − 1, d = reference − policy. A higher epsilonHigh gives DAPO (Yu et al. 2025),
 * and ratios of sequences give GSPO (Zheng et al. 2025). The caller adds the tokens' losses, with weights.
 *
 * The ratio r is between the current policy and the policy when the answers were drawn. If the sampler, a bf16 copy of
 * the policy, drew the answers, each term has an importance weight of at most `importanceSamplingCap`. It is the
 * probability under the policy at that time, divided by the probability under the sampler. This is truncated importance
 * sampling (Ionides 2008; Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training").
 * @returns losses, ratio, kl if there are referenceLogprobs, and samplingWeight if there are samplerLogprobs: (rows)
 * f32
 */
export function grpoLoss(
  tokens: GrpoTokens,
  options: GrpoOptions,
): { losses: Value; ratio: Value; kl?: Value; samplingWeight?: Value } {
  const { logprobs, advantages, referenceLogprobs, samplerLogprobs } = tokens;
  const { epsilon, epsilonHigh, delta, beta, importanceSamplingCap: cap = 2 } = options;
  const oldLogprobs = tokens.oldLogprobs ?? stopGradient(logprobs);
  const over = (logprobs: Value, others: Value) => exp(logRatio(sub(logprobs, others), tokens, options));
  const ratio = over(logprobs, oldLogprobs);
  const clipped = clamp(ratio, { low: 1 - epsilon, high: 1 + epsilonHigh });
  const bounded = delta === undefined ? ratio : clamp(ratio, { high: delta });
  const plain = scale(minimum(mul(bounded, advantages), mul(clipped, advantages)), -1);
  const samplingWeight = samplerLogprobs && clamp(over(oldLogprobs, samplerLogprobs), { high: cap });
  const losses = samplingWeight ? mul(plain, samplingWeight) : plain;
  const made = { losses, ratio, ...(samplingWeight && { samplingWeight }) };
  if (!referenceLogprobs) return made;
  const apart = sub(referenceLogprobs, logprobs);
  const kl = sub(affine(exp(apart), 1, -1), apart);
  return { ...made, losses: beta === 0 ? losses : add(losses, scale(kl, beta)), kl };
}

/** Log-ratio of each token, or of its sequence: the mean over the sequence's tokens. @param difference (rows) f32 of log-probabilities */
function logRatio(difference: Value, { sequences }: GrpoTokens, options: GrpoOptions): Value {
  if (options.importanceSamplingLevel === "token" || !sequences) return difference;
  const means = segmentSum(mul(difference, sequences.share), sequences.ids, sequences.count);
  return reshape(gatherRows(reshape(means, [sequences.count, 1]), sequences.ids), [difference.dim(0)]);
}
