import { clamp, log1mexp, logSigmoid, scale, sub, type Value } from "../../graph/index.ts";

interface OrpoLogprobs {
  /** (pairs) f32: mean log-probability of the tokens of each completion. */
  chosen: Value;
  rejected: Value;
}

/**
 * The odds-ratio term of ORPO (Hong et al. 2024): −log σ(log odds of chosen − log odds of rejected), with odds p / (1 −
 * p). ORPO's loss is the chosen answer's cross-entropy plus β times this term.
 * @returns losses and logOdds, (pairs) f32 each
 */
export function oddsRatioLoss({ chosen, rejected }: OrpoLogprobs): { losses: Value; logOdds: Value } {
  const logOdds = sub(logOddsOf(chosen), logOddsOf(rejected));
  return { losses: scale(logSigmoid(logOdds), -1), logOdds };
}

/** Upper bound of a log-probability: the log of the largest f32 below 1. The odds of probability 1 are infinite. */
const CERTAIN = -(2 ** -24);

function logOddsOf(logprob: Value): Value {
  return sub(logprob, log1mexp(clamp(logprob, { high: CERTAIN })));
}
