import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { add, input, mul, scale, sum } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { oddsRatioLoss } from "../losses/orpo.ts";
import { type Given, option, real } from "../options/option.ts";
import { KL_ALIASES, peakLearningRate } from "../options/stage-options.ts";
import {
  type PairOptions,
  type PreferenceTrainable,
  pairShape,
  preferencePeaks,
  preferenceStageShape,
} from "../preference/options.ts";
import { type PreferencePair, pairMean, pairRows, perPair, rewardMetrics } from "../preference/pairs.ts";
import { readPairs } from "../preference/prepare.ts";
import { runPreference } from "../preference/run-preference.ts";
import { answerLength, atAnswers, halves, rowsOf, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

const orpoShape = {
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
  /** Weight of the odds-ratio term (λ in the paper). Default 0.1. */
  beta: option(real(0).default(0.1), "weight of the odds-ratio term", { aliases: KL_ALIASES }),
};

/** The strict schema of the options of odds-ratio preference optimization, as in a configuration file. */
export const orpoSchema = z.strictObject({
  ...preferenceStageShape<PairRow>(),
  ...pairShape,
  ...orpoShape,
});

/** Options of `orpo`. */
export interface OrpoOptions<Base = LanguageModel> extends Given<typeof orpoShape>, PairOptions<Base> {}

/**
 * Odds-ratio preference optimization (Hong et al. 2024). One stage, without a reference, combines supervised
 * fine-tuning on the chosen answers with a preference for them over the rejected answers. Rows as for `dpo`. The
 * cross-entropy is the mean over the tokens of a step's chosen sequences, prompts included, as in TRL.
 *
 * Metrics: rewardChosen, rewardRejected, rewardMargin, rewardAccuracy, logOdds, nllLoss. An answer's reward is β times
 * the mean log-probability of its tokens.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE `file:line: …` for a row,
 * NUMERICAL, ABORTED
 */
export function orpo<Base extends PreferenceTrainable>(
  base: Base,
  options: OrpoOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "orpo", schema: orpoSchema }, options, run);
}

const run = runPreference<z.output<typeof orpoSchema>, PreferencePair>({
  peaks: preferencePeaks,
  about: {
    notes: "Tuned on pairs of a better and a worse answer (ORPO).",
    evaluation: { name: "held-out pairs", metric: "ORPO loss" },
  },
  sequencesEach: 2,
  items: (base, options, call) => readPairs(base, "orpo", options, call),
  stage: (options, { items: pairs, sequenceLength }) => orpoStage({ ...options, pairs, sequenceLength }),
});

export interface OrpoStageOptions {
  /** Weight of the odds-ratio term (λ in the paper). */
  beta: number;
  sequenceLength: number;
  /** Number of pairs in a micro-batch. */
  pairs: number;
}

/**
 * Odds-ratio preference optimization: cross-entropy of the chosen sequences, prompts included, and β times the odds-ratio term of the
 * answers' mean log-probabilities. Needs no reference.
 *
 * As in TRL's ORPOTrainer, the cross-entropy is the mean over the tokens of all chosen sequences, and the odds-ratio term the mean over
 * pairs. Both means are over a whole step, regardless of its number of micro-batches.
 */
export function orpoStage({ beta, sequenceLength, pairs }: OrpoStageOptions): Stage<readonly PreferencePair[]> {
  return {
    name: "orpo",
    count: (batch) => batch.length,
    weight: (batch) => batch.reduce((tokens, { chosen }) => tokens + rowsOf(chosen), 0),
    collate(batch, total, tokens) {
      const rows = pairRows(batch, pairs, sequenceLength, { promptTargets: (s) => s < pairs });
      const chosenWeights = new Float32Array(rows.inputs.ids.length);
      for (const [i, { chosen }] of batch.entries())
        chosenWeights.fill(1 / tokens, i * sequenceLength, i * sequenceLength + rowsOf(chosen));
      const length = (s: number) => answerLength(s < pairs ? batch[s]!.chosen : batch[s - pairs]!.rejected);
      return {
        inputs: {
          ...rows.inputs,
          pairWeights: perPair(batch, pairs, () => 1 / total),
          answerShares: atAnswers(rows, (s) => 1 / length(s)),
          // An empty slot has the sum 0, a log-probability with infinite odds. Add −1 to it.
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
    shares: ["nllLoss"],
    metrics: (outputs, batches) => ({
      ...rewardMetrics(outputs, batches),
      logOdds: pairMean("logOdds", outputs, batches),
      nllLoss: outputs.reduce((total, o) => total + o.likelihood![0]!, 0),
    }),
  };
}
