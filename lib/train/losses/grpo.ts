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

/** Whether a ratio of probabilities is a token's own, or its sequence's (GSPO). */
export const importanceSamplingLevels = ["token", "sequence"] as const;
export type ImportanceSamplingLevel = (typeof importanceSamplingLevels)[number];

export interface GrpoTokens {
  /** (rows) f32: log-probability of each token now; 0 at rows that are no token of an answer. */
  logprobs: Value;
  /** (rows) f32: the same when the answers were drawn; undefined where that is now, in a rollout's only step. */
  oldLogprobs?: Value | undefined;
  /** (rows) f32: the same under the model that they were drawn from, where that is not the policy itself. */
  samplerLogprobs?: Value | undefined;
  /** (rows) f32: the advantage of each token's answer. */
  advantages: Value;
  /** (rows) f32: the same under the reference; for a beta above 0. */
  referenceLogprobs?: Value | undefined;
  /** For importanceSamplingLevel "sequence". */
  sequences?:
    | {
        /** (rows) i32: the answer that a row belongs to. */
        ids: Value;
        count: number;
        /** (rows) f32: 1 / length of its answer at each of an answer's tokens, 0 elsewhere. */
        share: Value;
      }
    | undefined;
}

export interface GrpoOptions {
  /** The ratio is cut to [1 − epsilon, 1 + epsilonHigh]. */
  epsilon: number;
  epsilonHigh: number;
  /** A bound on the ratio where the advantage is negative, above 1 + epsilonHigh (INTELLECT-2, 2025); undefined: none. */
  delta?: number | undefined;
  /** Weight of the divergence from the reference. */
  beta: number;
  importanceSamplingLevel: ImportanceSamplingLevel;
  /** What the weights of tokens that another model drew are cut to. Default 2. */
  importanceSamplingCap?: number | undefined;
}

/**
 * Group-relative policy optimisation (Shao et al. 2024) of tokens: −min(r A, clip(r) A) + β · KL, with the unbiased estimate
 * exp(d) − d − 1 of the divergence, d = reference − policy. With a higher epsilonHigh it is DAPO's (Yu et al. 2025), with ratios of
 * sequences GSPO's (Zheng et al. 2025); how tokens are weighted into one loss is the caller's choice.
 *
 * The ratio r is of the policy now and when the answers were drawn. Where another model drew them, its twin in bf16, each term is weighted
 * by how likely it was under the policy then, over how likely under the sampler, cut to `importanceSamplingCap`: truncated importance
 * sampling (Ionides 2008; Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training").
 * @returns losses, ratio and, for a beta above 0, kl: (rows) f32
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

/** Of tokens, or of each token's sequence: the mean over its tokens. @param difference (rows) f32 of log-probabilities */
function logRatio(difference: Value, { sequences }: GrpoTokens, options: GrpoOptions): Value {
  if (options.importanceSamplingLevel === "token" || !sequences) return difference;
  const means = segmentSum(mul(difference, sequences.share), sequences.ids, sequences.count);
  return reshape(gatherRows(reshape(means, [sequences.count, 1]), sequences.ids), [difference.dim(0)]);
}
