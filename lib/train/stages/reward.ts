import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { real } from "../../core/schema-parts.ts";
import { cast, gatherRows, input, reshape } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { classifierLogits, classifierNames, trunkNames } from "../../models/heads.ts";
import type { PairRow } from "../examples/row-types.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { rewardLoss } from "../losses/reward.ts";
import { type Given, option } from "../options/option.ts";
import { peakLearningRate } from "../options/stage-options.ts";
import { type PairOptions, type PreferenceTrainable, pairShape, preferenceStageShape } from "../preference/options.ts";
import { meanOverPairs, pairStage } from "../preference/pairs.ts";
import { halves, perSlot } from "../preference/sequences.ts";

const peaks = { lora: 1e-3, weights: 1e-4 };

const rewardShape = {
  /** Peak of the schedule. Default: 1e-4; 1e-3 with lora. */
  learningRate: peakLearningRate(peaks),
  /** Weight of (chosen + rejected)², which keeps scores centered around 0; 0 turns it off. Default 0. */
  centerRewardsCoefficient: option(
    real(0).default(0),
    "weight of (chosen + rejected)², which centers scores at 0; 0 disables it",
  ),
};

/** The strict schema of the options of reward modeling, as in a configuration file. */
export const rewardSchema = z.strictObject({
  ...preferenceStageShape<PairRow>(),
  ...pairShape,
  ...rewardShape,
});

/** Options of `trainReward`. */
export interface TrainRewardOptions<Base = LanguageModel> extends Given<typeof rewardShape>, PairOptions<Base> {}

/**
 * Trains a reward model: one number for a prompt with an answer, higher for better answers. Rows are as for `dpo`, with an optional number
 * `margin` by which the chosen answer should win. The model is a sequence classifier with one label, which transformers reads as
 * `…ForSequenceClassification`. Its classification head replaces the language-modeling head.
 *
 * Metrics: rewardChosen, rewardRejected, rewardMargin, rewardAccuracy (share of pairs with a higher score for the chosen answer). An
 * accuracy of 1 alone proves little: judge a reward model by the answers of a policy trained with it.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE `file:line: …` for a row, NUMERICAL, ABORTED
 * @example
 * await trainReward(model, { data: "pairs.jsonl", evalFraction: 0.1, outputDir: "reward" });
 */
export function trainReward<Base extends PreferenceTrainable>(
  base: Base,
  options: TrainRewardOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "reward", schema: rewardSchema }, options, preference.run);
}

const preference = pairStage<Pick<z.output<typeof rewardSchema>, "centerRewardsCoefficient">>({
  name: "reward",
  peaks,
  about: {
    notes: "A reward model: it scores answers and gives none.",
    evaluation: { name: "held-out pairs", metric: "Bradley–Terry loss" },
  },
  async addHead(model, { lora, replay, seed }) {
    // Replayed text needs the language-modelling head. If the head is a separate matrix, it stays frozen.
    const keepLanguageHead = replay !== undefined;
    await model.addClassifier(
      { task: "sequence", labels: ["reward"], problemType: "regression" },
      { seed, keepLanguageHead },
    );
    const heads = classifierNames(model.config);
    return lora ? heads : [...trunkNames(model.config), ...heads];
  },
  whole: true,
  inputs(batch, _, { pairs, sequenceLength }) {
    const last = (s: number) => {
      const pair = batch[s % pairs];
      return s * sequenceLength + (pair ? (s < pairs ? pair.chosen : pair.rejected).ids.length - 1 : 0);
    };
    return {
      lastRows: Int32Array.from({ length: 2 * pairs }, (_, s) => last(s)),
      margins: perSlot(batch, pairs, (pair) => pair.margin ?? 0),
    };
  },
  loss({ forward, model }, options) {
    const { pairs } = options;
    const pass = forward();
    const last = cast(gatherRows(pass.hidden, input("lastRows", "i32", [2 * pairs])), "f32");
    const { chosen, rejected } = halves(reshape(classifierLogits(pass, model.config, last), [2 * pairs]));
    const losses = rewardLoss({ chosen, rejected, margin: input("margins", "f32", [pairs]) }, options);
    return { loss: meanOverPairs(losses), chosenRewards: chosen, rejectedRewards: rejected };
  },
});

/**
 * The stage of reward modeling. The score of a sequence is the single output of its classification head at the last token. The loss is
 * the mean over pairs of −log σ(chosen − rejected − margin).
 */
export const rewardStage = preference.stage;
