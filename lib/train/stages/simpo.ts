import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { positive, real } from "../../core/schema-parts.ts";
import { input, mul } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type SimpoOptions as Objective, simpoLoss } from "../losses/simpo.ts";
import { type Given, option } from "../options/option.ts";
import { type PairOptions, type PreferenceTrainable, pairShape, preferenceStageShape } from "../preference/options.ts";
import { meanOverPairs, pairStage, perAnswer } from "../preference/pairs.ts";
import { answerLength, halves, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

const simpoShape = {
  /** Factor of an answer's mean log-probability in its reward. Default 2. */
  beta: option(positive().default(2), "factor of an answer's mean log-probability in its reward"),
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
  return startStage(base, { name: "simpo", schema: simpoSchema }, options, preference.run);
}

const preference = pairStage<Objective>({
  name: "simpo",
  about: {
    notes: "Tuned on pairs of a better and a worse answer (SimPO).",
    evaluation: { name: "held-out pairs", metric: "SimPO loss" },
  },
  inputs: (batch, _, { pairs }) => ({
    answerShares: perAnswer(batch, pairs, (answer) => 1 / answerLength(answer)),
  }),
  loss({ forward }, options) {
    const sequences = 2 * options.pairs;
    const sums = sequenceSums(targetLogprobs(forward()), sequences);
    const means = halves(mul(sums, input("answerShares", "f32", [sequences])));
    const { losses, ...rewards } = simpoLoss(means, options);
    return { loss: meanOverPairs(losses), ...rewards };
  },
});

/** The stage of simple preference optimization. The loss is the mean over pairs. Both answers of a pair share one forward pass. */
export const simpoStage = preference.stage;
