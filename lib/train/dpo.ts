import { add, input, mul, scale, sum, type Value } from "../graph/index.ts";
import { type DpoOptions, dpoLoss } from "./objectives/dpo.ts";
import { pairMean, pairRows, perAnswer, perPair, type ReferencedPair, rewardMetrics } from "./preference/pairs.ts";
import { answerLength, atAnswers, halves, sequenceSums, targetLogprobs } from "./preference/sequences.ts";
import type { Stage } from "./stage.ts";

export interface DpoStageOptions extends DpoOptions {
  /** Weight of the chosen answers' cross-entropy, the mean over an answer's tokens (Pang et al. 2024); 0: none. */
  rpoAlpha: number;
  sequenceLength: number;
  /** Pairs of a micro-batch. */
  pairs: number;
}

/**
 * Direct preference optimisation against log-probabilities of the reference that were computed before. The loss is the mean over
 * pairs; chosen and rejected answers share one forward pass.
 */
export function dpoStage(options: DpoStageOptions): Stage<readonly ReferencedPair[]> {
  const { pairs, sequenceLength, lossType, rpoAlpha } = options;
  // For ipo an answer counts by its mean token, so that long ones do not weigh more.
  const share = (length: number) => (lossType === "ipo" ? 1 / length : 1);
  return {
    name: "dpo",
    count: (batch) => batch.length,
    collate(batch, total) {
      const rows = pairRows(batch, pairs, sequenceLength);
      const reference = (side: "chosen" | "rejected") =>
        perPair(batch, pairs, (pair) => pair.reference[side] * share(answerLength(pair[side])));
      const likelihood = rpoAlpha > 0 && {
        chosenWeights: atAnswers(rows, (s) => (s < pairs ? rpoAlpha / (total * rows.placements[s]!.count) : 0)),
      };
      return {
        inputs: {
          ...rows.inputs,
          pairWeights: perPair(batch, pairs, () => 1 / total),
          answerShares: perAnswer(batch, pairs, (answer) => share(answerLength(answer))),
          referenceChosen: reference("chosen"),
          referenceRejected: reference("rejected"),
          ...likelihood,
        },
        tokens: rows.tokens,
        counted: batch.length,
      };
    },
    loss({ forward, rows }) {
      const vector = (name: string) => input(name, "f32", [pairs]);
      const tokens = targetLogprobs(forward());
      const answers = sequenceSums(tokens, 2 * pairs);
      const { chosen, rejected } = halves(answers);
      const scored =
        lossType === "ipo" ? halves(mul(answers, input("answerShares", "f32", [2 * pairs]))) : { chosen, rejected };
      const { losses, chosenRewards, rejectedRewards } = dpoLoss(
        { ...scored, referenceChosen: vector("referenceChosen"), referenceRejected: vector("referenceRejected") },
        options,
      );
      const preference = sum(mul(losses, vector("pairWeights")));
      const outputs = { chosenRewards, rejectedRewards, chosenLogprobs: chosen, rejectedLogprobs: rejected };
      if (rpoAlpha === 0) return { loss: preference, ...outputs };
      const likelihood: Value = scale(sum(mul(tokens, input("chosenWeights", "f32", [rows]))), -1);
      return { loss: add(preference, likelihood), likelihood, ...outputs };
    },
    metrics(outputs, batches) {
      const likelihood = outputs.reduce((total, o) => total + (o.likelihood?.[0] ?? 0), 0);
      return {
        ...rewardMetrics(outputs, batches),
        logprobChosen: pairMean("chosenLogprobs", outputs, batches),
        logprobRejected: pairMean("rejectedLogprobs", outputs, batches),
        ...(rpoAlpha > 0 && { nllLoss: likelihood / rpoAlpha }),
      };
    },
  };
}
