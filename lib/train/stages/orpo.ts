import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { real } from "../../core/schema-parts.ts";
import { add, input, mul, scale } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { oddsRatioLoss } from "../losses/orpo.ts";
import { type Given, option } from "../options/option.ts";
import { KL_ALIASES } from "../options/stage-options.ts";
import { type PairOptions, type PreferenceTrainable, pairShape, preferenceStageShape } from "../preference/options.ts";
import { chosenCrossEntropy, meanOverPairs, pairStage } from "../preference/pairs.ts";
import { answerLength, atAnswers, halves, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

const orpoShape = {
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
  return startStage(base, { name: "orpo", schema: orpoSchema }, options, preference.run);
}

const preference = pairStage<Pick<z.output<typeof orpoSchema>, "beta">>({
  name: "orpo",
  about: {
    notes: "Tuned on pairs of a better and a worse answer (ORPO).",
    evaluation: { name: "held-out pairs", metric: "ORPO loss" },
  },
  chosenTerm: () => ({ weight: 1, prompts: true }),
  inputs(batch, rows, { pairs }) {
    const length = (s: number) => answerLength(s < pairs ? batch[s]!.chosen : batch[s - pairs]!.rejected);
    return {
      answerShares: atAnswers(rows, (s) => 1 / length(s)),
      // An empty slot has the sum 0, a log-probability with infinite odds. Add −1 to it.
      empty: Float32Array.from({ length: 2 * pairs }, (_, s) => (s % pairs < batch.length ? 0 : -1)),
    };
  },
  loss({ forward, rows }, { beta, pairs }) {
    const tokens = targetLogprobs(forward());
    const means = sequenceSums(mul(tokens, input("answerShares", "f32", [rows])), 2 * pairs);
    const { chosen, rejected } = halves(add(means, input("empty", "f32", [2 * pairs])));
    const { losses, logOdds } = oddsRatioLoss({ chosen, rejected });
    const oddsRatio = scale(meanOverPairs(losses), beta);
    const nllLoss = chosenCrossEntropy(tokens);
    return {
      loss: add(nllLoss, oddsRatio),
      nllLoss,
      logOdds,
      chosenRewards: scale(chosen, beta),
      rejectedRewards: scale(rejected, beta),
    };
  },
  means: ["logOdds"],
});

/**
 * Odds-ratio preference optimization: cross-entropy of the chosen sequences, prompts included, and β times the odds-ratio term of the
 * answers' mean log-probabilities. Needs no reference.
 *
 * As in TRL's ORPOTrainer, the cross-entropy is the mean over the tokens of all chosen sequences. The odds-ratio term is the mean over
 * pairs. Both means are over a whole step, regardless of its number of micro-batches.
 */
export const orpoStage = preference.stage;
