import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { cast, gatherRows, input, mul, reshape, sum } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { classifierLogits, classifierNames, trunkNames } from "../../models/heads.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { rewardLoss } from "../losses/reward.ts";
import { type Given, option, real } from "../options/option.ts";
import { peakLearningRate } from "../options/stage-options.ts";
import { type PairOptions, type PreferenceTrainable, pairShape, preferenceStageShape } from "../preference/options.ts";
import { type PreferencePair, pairRows, perPair, rewardMetrics } from "../preference/pairs.ts";
import { readPairs } from "../preference/prepare.ts";
import { runPreference } from "../preference/run-preference.ts";
import { halves } from "../preference/sequences.ts";

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
export interface RewardOptions<Base = LanguageModel> extends Given<typeof rewardShape>, PairOptions<Base> {}

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
  options: RewardOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "reward", schema: rewardSchema }, options, run);
}

const run = runPreference<z.output<typeof rewardSchema>, PreferencePair>({
  peaks,
  about: {
    notes: "A reward model: it scores answers and gives none.",
    evaluation: { name: "held-out pairs", metric: "Bradley–Terry loss" },
  },
  sequencesEach: 2,
  items: (base, options, call) => readPairs(base, "reward", options, call),
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
  stage: (options, { items: pairs, sequenceLength }) => rewardStage({ ...options, pairs, sequenceLength }),
});

export interface RewardStageOptions {
  /** Weight of (chosen + rejected)², which keeps scores centered around 0; 0 turns it off. */
  centerRewardsCoefficient: number;
  sequenceLength: number;
  /** Number of pairs in a micro-batch. */
  pairs: number;
}

/**
 * The stage of reward modeling. The score of a sequence is the single output of its classification head at the last token. The loss is
 * the mean over pairs of −log σ(chosen − rejected − margin).
 */
export function rewardStage(options: RewardStageOptions): Stage<readonly PreferencePair[]> {
  const { pairs, sequenceLength } = options;
  return {
    name: "reward",
    count: (batch) => batch.length,
    collate(batch, total) {
      const { inputs, tokens } = pairRows(batch, pairs, sequenceLength, { whole: true });
      const last = (s: number) => {
        const pair = batch[s % pairs];
        return s * sequenceLength + (pair ? (s < pairs ? pair.chosen : pair.rejected).ids.length - 1 : 0);
      };
      return {
        inputs: {
          ids: inputs.ids,
          lengths: inputs.lengths,
          lastRows: Int32Array.from({ length: 2 * pairs }, (_, s) => last(s)),
          pairWeights: perPair(batch, pairs, () => 1 / total),
          margins: perPair(batch, pairs, (pair) => pair.margin ?? 0),
        },
        tokens,
        counted: batch.length,
      };
    },
    loss({ forward, model }) {
      const pass = forward();
      const last = cast(gatherRows(pass.hidden, input("lastRows", "i32", [2 * pairs])), "f32");
      const { chosen, rejected } = halves(reshape(classifierLogits(pass, model.config, last), [2 * pairs]));
      const losses = rewardLoss({ chosen, rejected, margin: input("margins", "f32", [pairs]) }, options);
      const loss = sum(mul(losses, input("pairWeights", "f32", [pairs])));
      return { loss, chosenRewards: chosen, rejectedRewards: rejected };
    },
    metrics: rewardMetrics,
  };
}
