import { add, input, mul, scale, sum } from "../graph/index.ts";
import { oddsRatioLoss } from "./objectives/orpo.ts";
import { type PreferencePair, pairMean, pairRows, perPair, rewardMetrics } from "./preference/pairs.ts";
import { answerLength, atAnswers, halves, rowsOf, sequenceSums, targetLogprobs } from "./preference/sequences.ts";
import type { Stage } from "./stage.ts";

export interface OrpoStageOptions {
  /** Weight of the odds-ratio term (λ in the paper). */
  beta: number;
  sequenceLength: number;
  /** Pairs of a micro-batch. */
  pairs: number;
}

/**
 * Odds-ratio preference optimisation: cross-entropy of the chosen sequences, prompts included (as TRL does), and β times the
 * odds-ratio term of the answers' mean log-probabilities. Needs no reference. All means are over a sequence's tokens, then over pairs.
 */
export function orpoStage({ beta, sequenceLength, pairs }: OrpoStageOptions): Stage<readonly PreferencePair[]> {
  return {
    name: "orpo",
    count: (batch) => batch.length,
    collate(batch, total) {
      const rows = pairRows(batch, pairs, sequenceLength, { promptTargets: (s) => s < pairs });
      const chosenWeights = new Float32Array(rows.inputs.ids.length);
      for (const [i, { chosen }] of batch.entries()) {
        const count = rowsOf(chosen);
        chosenWeights.fill(1 / (total * count), i * sequenceLength, i * sequenceLength + count);
      }
      const length = (s: number) => answerLength(s < pairs ? batch[s]!.chosen : batch[s - pairs]!.rejected);
      return {
        inputs: {
          ...rows.inputs,
          pairWeights: perPair(batch, pairs, () => 1 / total),
          answerShares: atAnswers(rows, (s) => 1 / length(s)),
          // An empty place has no mean: the odds of log-probability −1 instead of those of 0, which are infinite.
          empty: Float32Array.from({ length: 2 * pairs }, (_, s) => (s % pairs < batch.length ? 0 : -1)),
          chosenWeights,
        },
        tokens: rows.tokens,
        counted: batch.length,
      };
    },
    loss({ forward, rows }) {
      const tokens = targetLogprobs(forward());
      const means = sequenceSums(mul(tokens, input("answerShares", "f32", [rows])), 2 * pairs);
      const { chosen, rejected } = halves(add(means, input("empty", "f32", [2 * pairs])));
      const { losses, logOdds } = oddsRatioLoss({ chosen, rejected });
      const oddsRatio = scale(sum(mul(losses, input("pairWeights", "f32", [pairs]))), beta);
      const likelihood = scale(sum(mul(tokens, input("chosenWeights", "f32", [rows]))), -1);
      return {
        loss: add(likelihood, oddsRatio),
        likelihood,
        logOdds,
        chosenRewards: scale(chosen, beta),
        rejectedRewards: scale(rejected, beta),
      };
    },
    metrics: (outputs, batches) => ({
      ...rewardMetrics(outputs, batches),
      logOdds: pairMean("logOdds", outputs, batches),
      nllLoss: outputs.reduce((total, o) => total + o.likelihood![0]!, 0),
    }),
  };
}
