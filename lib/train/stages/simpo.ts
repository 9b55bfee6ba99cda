import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { input, mul, sum } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type SimpoOptions as Objective, simpoLoss } from "../losses/simpo.ts";
import { above, type Given, option, real } from "../options/option.ts";
import { peakLearningRate } from "../options/stage-options.ts";
import {
  type PairOptions,
  type PreferenceTrainable,
  pairShape,
  preferencePeaks,
  preferenceStageShape,
} from "../preference/options.ts";
import { type PreferencePair, pairRows, perAnswer, perPair, rewardMetrics } from "../preference/pairs.ts";
import { readPairs } from "../preference/prepare.ts";
import { runPreference } from "../preference/run-preference.ts";
import { answerLength, halves, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

const simpoShape = {
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
  /** Factor of an answer's mean log-probability in its reward. Default 2. */
  beta: option(above().default(2), "factor of an answer's mean log-probability in its reward"),
  /** Margin by which the reward of a chosen answer should exceed that of the rejected answer. Default 0.5. */
  gamma: option(real(0).default(0.5), "margin by which the reward of a chosen answer should exceed the other's", {
    aliases: "simpogamma margin rewardmargin targetmargin targetrewardmargin",
  }),
};

/** The strict schema of the options of simple preference optimization, as in a configuration file. */
export const simpoSchema = z.strictObject({
  ...preferenceStageShape<PairRow>(),
  ...pairShape,
  ...simpoShape,
});

/** Options of `simpo`. */
export interface SimpoOptions<Base = LanguageModel> extends Given<typeof simpoShape>, PairOptions<Base> {}

/**
 * Simple preference optimization (Meng et al. 2024): learns from pairs of a better and a worse answer, without a reference. The reward of
 * an answer is β times the mean log-probability of its tokens. The loss is −log σ(reward of chosen − reward of rejected − γ). Rows as for
 * `dpo`.
 *
 * Metrics: rewardChosen, rewardRejected, rewardMargin (without γ), rewardAccuracy (share of pairs with a higher reward for the chosen
 * answer).
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE `file:line: …` for a row, NUMERICAL, ABORTED
 */
export function simpo<Base extends PreferenceTrainable>(
  base: Base,
  options: SimpoOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "simpo", schema: simpoSchema }, options, run);
}

const run = runPreference<z.output<typeof simpoSchema>, PreferencePair>({
  peaks: preferencePeaks,
  about: {
    notes: "Tuned on pairs of a better and a worse answer (SimPO).",
    evaluation: { name: "held-out pairs", metric: "SimPO loss" },
  },
  sequencesEach: 2,
  items: (base, options, call) => readPairs(base, "simpo", options, call),
  stage: (options, { items: pairs, sequenceLength }) => simpoStage({ ...options, pairs, sequenceLength }),
});

export interface SimpoStageOptions extends Objective {
  sequenceLength: number;
  /** Number of pairs in a micro-batch. */
  pairs: number;
}

/** The stage of simple preference optimization. The loss is the mean over pairs. Both answers of a pair share one forward pass. */
export function simpoStage(options: SimpoStageOptions): Stage<readonly PreferencePair[]> {
  const { pairs, sequenceLength } = options;
  return {
    name: "simpo",
    count: (batch) => batch.length,
    collate(batch, total) {
      const { inputs, tokens } = pairRows(batch, pairs, sequenceLength);
      return {
        inputs: {
          ...inputs,
          pairWeights: perPair(batch, pairs, () => 1 / total),
          answerShares: perAnswer(batch, pairs, (answer) => 1 / answerLength(answer)),
        },
        tokens,
        counted: batch.length,
      };
    },
    loss({ forward }) {
      const sums = sequenceSums(targetLogprobs(forward()), 2 * pairs);
      const means = halves(mul(sums, input("answerShares", "f32", [2 * pairs])));
      const { losses, ...rewards } = simpoLoss(means, options);
      return { loss: sum(mul(losses, input("pairWeights", "f32", [pairs]))), ...rewards };
    },
    metrics: rewardMetrics,
  };
}
