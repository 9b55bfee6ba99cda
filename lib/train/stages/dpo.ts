import { z } from "zod";
import { describe, HeddleError } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import { add, input, mul, scale, sum, Value } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type DpoLogprobs, dpoLoss, dpoLossTypes, type DpoOptions as Objective } from "../losses/dpo.ts";
import { type Given, option, real } from "../options/option.ts";
import { KL_ALIASES, peakLearningRate } from "../options/stage-options.ts";
import {
  type PairOptions,
  type PreferenceTrainable,
  pairShape,
  preferencePeaks,
  preferenceStageShape,
  referenceShape,
} from "../preference/options.ts";
import {
  type PreferencePair,
  pairMean,
  pairRows,
  perAnswer,
  perPair,
  type ReferencedPair,
  rewardMetrics,
} from "../preference/pairs.ts";
import { readPairs } from "../preference/prepare.ts";
import { scoredByReference } from "../preference/reference.ts";
import { runPreference } from "../preference/run-preference.ts";
import { answerLength, atAnswers, halves, sequenceSums, targetLogprobs } from "../preference/sequences.ts";

/** Input of a custom objective, (pairs) f32 each: log-probabilities of whole answers, and their token counts. */
export interface DpoLossInput extends DpoLogprobs {
  chosenLengths: Value;
  rejectedLengths: Value;
}

/** A custom objective: a function of the graph (`heddle/graph`). @returns the losses, (pairs) f32 */
export type DpoLoss = (logprobs: DpoLossInput) => Value;

const dpoShape = {
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
  /** Strength of the penalty for diverging from the reference. Default 0.1. */
  beta: option(real(0).default(0.1), "strength of the penalty for leaving the reference model", {
    aliases: KL_ALIASES,
  }),
  /** The objective. Default "sigmoid". */
  lossType: option(z.enum(dpoLossTypes).default("sigmoid"), "loss function"),
  /** Probability that a preference is inverted; only for sigmoid. Default 0. */
  labelSmoothing: option(real(0, 0.5).default(0), "sigmoid only: probability that a preference label is flipped", {
    aliases: "labelsmoothingfactor",
  }),
  /**
   * Weight of the chosen answers' cross-entropy; 0: none. The cross-entropy is a mean over all tokens of a step's chosen answers, as in
   * TRL. Default 0.
   */
  rpoAlpha: option(real(0).default(0), "weight of the cross-entropy of chosen answers; 0 disables it"),
  /** A custom objective, which replaces lossType. Default: none. */
  loss: option(
    z.custom<DpoLoss>((v) => typeof v === "function", "a function of log-probabilities").optional(),
    "a custom loss as a function of log-probabilities, instead of lossType; needs a .js or .ts configuration",
  ),
};

/** The strict schema of the options of direct preference optimization, as in a configuration file. */
export const dpoSchema = z
  .strictObject({
    ...preferenceStageShape<PairRow>(),
    ...pairShape,
    ...referenceShape,
    ...dpoShape,
  })
  .superRefine(({ lossType, labelSmoothing, loss, beta }, context) => {
    const refuse = (option: string, message: string) => context.addIssue({ code: "custom", path: [option], message });
    const objective = loss ? "a custom loss" : `lossType ${lossType}`;
    if (loss && lossType !== "sigmoid") refuse("loss", `no custom loss with lossType ${lossType}`);
    if (labelSmoothing > 0 && (loss || lossType !== "sigmoid")) refuse("labelSmoothing", `0 with ${objective}`);
    if (beta === 0 && lossType === "ipo") refuse("beta", `a number above 0 with ${objective}`);
  });

/** Options of `dpo`. */
export interface DpoOptions<Base = LanguageModel>
  extends Given<typeof dpoShape>,
    Given<typeof referenceShape>,
    PairOptions<Base> {}

/**
 * Direct preference optimization (Rafailov et al. 2023): learns from pairs of a better and a worse answer, without a
 * reward model. Rows are `{ prompt, chosen, rejected }` (texts, or arrays of messages), or `{ prompt, ranked }` with
 * answers from best to worst. The reference's log-probabilities are computed once, before the first step, so that
 * training needs no second model in memory.
 *
 * Metrics: rewardChosen, rewardRejected, rewardMargin, rewardAccuracy, logprobChosen, logprobRejected, and with
 * rpoAlpha nllLoss. An answer's reward is β · (log-probability under the policy − log-probability under the reference).
 * rewardAccuracy is the share of pairs with a higher reward for the chosen answer.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE `file:line: …` for a row,
 * NUMERICAL, ABORTED
 * @example
 * await dpo(model, { data: "pairs.jsonl", beta: 0.1, evalFraction: 0.1, outputDir: "out" });
 */
export function dpo<Base extends PreferenceTrainable>(
  base: Base,
  options: DpoOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "dpo", schema: dpoSchema }, options, run);
}

const run = runPreference<z.output<typeof dpoSchema>, ReferencedPair>({
  peaks: preferencePeaks,
  about: {
    notes: "Tuned on pairs of a better and a worse answer (DPO).",
    evaluation: { name: "held-out pairs", metric: "DPO loss" },
  },
  sequencesEach: 2,
  async items(base, options, call) {
    const pairs = await readPairs(base, "dpo", options, call);
    return scoredByReference<PreferencePair, ReferencedPair>(base, pairs, options, call, {
      sequences: 2 * options.perDeviceTrainBatchSize,
      answers: ({ chosen, rejected }) => [chosen, rejected],
      scored: (pair, [chosen, rejected]) => ({ ...pair, reference: { chosen: chosen!, rejected: rejected! } }),
      identify: ({ reference: { chosen, rejected } }) => [chosen, rejected],
    });
  },
  stage: (options, { items: pairs, sequenceLength }) => dpoStage({ ...options, pairs, sequenceLength }),
});

export interface DpoStageOptions extends Objective {
  /**
   * Weight of the chosen answers' cross-entropy (Pang et al. 2024); 0: none. The cross-entropy is a mean over all tokens of the chosen
   * answers, as in TRL.
   */
  rpoAlpha: number;
  loss?: DpoLoss | undefined;
  sequenceLength: number;
  /** Number of pairs in a micro-batch. */
  pairs: number;
}

/**
 * Direct preference optimization with precomputed log-probabilities of the reference. The loss is the mean over pairs. Chosen and rejected
 * answers share one forward pass.
 */
export function dpoStage(options: DpoStageOptions): Stage<readonly ReferencedPair[]> {
  const { pairs, sequenceLength, lossType, rpoAlpha } = options;
  // ipo uses the mean over an answer's tokens, so that long answers do not weigh more.
  const share = (length: number) => (lossType === "ipo" ? Math.fround(1 / length) : 1);
  return {
    name: "dpo",
    count: (batch) => batch.length,
    // The cross-entropy of chosen answers is a mean over tokens, not over pairs. This is its divisor.
    ...(rpoAlpha > 0 && {
      weight: (batch: readonly ReferencedPair[]) =>
        batch.reduce((tokens, { chosen }) => tokens + answerLength(chosen), 0),
    }),
    collate(batch, total, tokens) {
      const rows = pairRows(batch, pairs, sequenceLength);
      const reference = (side: "chosen" | "rejected") =>
        perPair(batch, pairs, (pair) => pair.reference[side] * share(answerLength(pair[side])));
      // Empty slots get length 1, to avoid a division by zero.
      const lengths = (side: "chosen" | "rejected") =>
        Float32Array.from({ length: pairs }, (_, i) => (i < batch.length ? answerLength(batch[i]![side]) : 1));
      const likelihood = rpoAlpha > 0 && {
        chosenWeights: atAnswers(rows, (s) => (s < pairs ? rpoAlpha / tokens : 0)),
      };
      return {
        inputs: {
          ...rows.inputs,
          pairWeights: perPair(batch, pairs, () => 1 / total),
          answerShares: perAnswer(batch, pairs, (answer) => share(answerLength(answer))),
          ...(options.loss && {
            chosenLengths: lengths("chosen"),
            rejectedLengths: lengths("rejected"),
          }),
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
      const reference = { referenceChosen: vector("referenceChosen"), referenceRejected: vector("referenceRejected") };
      const { losses, chosenRewards, rejectedRewards } = dpoLoss({ ...scored, ...reference }, options);
      const lengths = () => ({ chosenLengths: vector("chosenLengths"), rejectedLengths: vector("rejectedLengths") });
      const own = options.loss && needVector(options.loss({ chosen, rejected, ...reference, ...lengths() }), pairs);
      const preference = sum(mul(own ?? losses, vector("pairWeights")));
      const outputs = { chosenRewards, rejectedRewards, chosenLogprobs: chosen, rejectedLogprobs: rejected };
      if (rpoAlpha === 0) return { loss: preference, ...outputs };
      const likelihood: Value = scale(sum(mul(tokens, input("chosenWeights", "f32", [rows]))), -1);
      return { loss: add(preference, likelihood), likelihood, ...outputs };
    },
    shares: ["nllLoss"],
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

/** Checks a custom objective's result. @throws HeddleError INVALID_ARGUMENT unless it is one number per pair */
function needVector(losses: unknown, pairs: number): Value {
  if (losses instanceof Value && losses.dtype === "f32" && losses.rank === 1 && losses.dim(0) === pairs) return losses;
  const got = losses instanceof Value ? `${losses}` : describe(losses);
  throw new HeddleError("INVALID_ARGUMENT", `loss: expected a value f32(${pairs}), the loss of each pair, got ${got}`);
}
