import { z } from "zod";
import { describe, HeddleError } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import { real } from "../../core/schema-parts.ts";
import { add, input, mul, Value } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PairRow } from "../examples/row-types.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type DpoLogprobs, dpoLoss, dpoLossTypes, type DpoOptions as Objective } from "../losses/dpo.ts";
import { type Given, option } from "../options/option.ts";
import {
  divergenceShape,
  type PairOptions,
  type PreferenceTrainable,
  pairShape,
  preferenceStageShape,
  referenceShape,
} from "../preference/options.ts";
import {
  chosenCrossEntropy,
  meanOverPairs,
  type PreferencePair,
  pairStage,
  perAnswer,
  type ReferencedPair,
} from "../preference/pairs.ts";
import { scoredByReference } from "../preference/reference.ts";
import {
  type AnsweredPrompt,
  answerLength,
  halves,
  perSlot,
  sequenceSums,
  targetLogprobs,
} from "../preference/sequences.ts";

/** Input of a custom objective, (pairs) f32 each: log-probabilities of whole answers, and their token counts. */
export interface DpoLossInput extends DpoLogprobs {
  /** Number of tokens of each chosen answer. */
  chosenLengths: Value;
  /** Number of tokens of each rejected answer. */
  rejectedLengths: Value;
}

/** A custom objective: a function of the graph (`heddle/graph`). @returns the losses, (pairs) f32 */
export type DpoLoss = (logprobs: DpoLossInput) => Value;

const dpoShape = {
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
    ...divergenceShape,
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
    Given<typeof divergenceShape>,
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
  return startStage(base, { name: "dpo", schema: dpoSchema }, options, preference.run);
}

const preference = pairStage<Objective & Pick<z.output<typeof dpoSchema>, "rpoAlpha" | "loss">, ReferencedPair>({
  name: "dpo",
  about: {
    notes: "Tuned on pairs of a better and a worse answer (DPO).",
    evaluation: { name: "held-out pairs", metric: "DPO loss" },
  },
  prepare: (base, pairs, options, call) =>
    scoredByReference<PreferencePair, ReferencedPair>(base, pairs, options, call, {
      sequences: 2 * options.perDeviceTrainBatchSize,
      answers: ({ chosen, rejected }) => [chosen, rejected],
      scored: (pair, [chosen, rejected]) => ({ ...pair, reference: { chosen: chosen!, rejected: rejected! } }),
      identify: ({ reference: { chosen, rejected } }) => [chosen, rejected],
    }),
  // Pang et al. 2024.
  chosenTerm: ({ rpoAlpha }) => (rpoAlpha > 0 ? { weight: rpoAlpha, prompts: false } : undefined),
  inputs(batch, _, { pairs, lossType, loss }) {
    const share = (answer: AnsweredPrompt) => shareOf(answerLength(answer), lossType);
    const reference = (side: "chosen" | "rejected") =>
      perSlot(batch, pairs, (pair) => pair.reference[side] * share(pair[side]));
    // Empty slots get length 1, to avoid a division by zero.
    const lengths = (side: "chosen" | "rejected") =>
      Float32Array.from({ length: pairs }, (_, i) => (i < batch.length ? answerLength(batch[i]![side]) : 1));
    return {
      answerShares: perAnswer(batch, pairs, share),
      ...(loss && { chosenLengths: lengths("chosen"), rejectedLengths: lengths("rejected") }),
      referenceChosen: reference("chosen"),
      referenceRejected: reference("rejected"),
    };
  },
  loss({ forward }, options) {
    const { pairs, lossType, rpoAlpha } = options;
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
    const loss = meanOverPairs(own ?? losses);
    const outputs = { chosenRewards, rejectedRewards, logprobChosen: chosen, logprobRejected: rejected };
    if (rpoAlpha === 0) return { loss, ...outputs };
    const nllLoss = chosenCrossEntropy(tokens);
    return { loss: add(loss, nllLoss), nllLoss, ...outputs };
  },
  means: ["logprobChosen", "logprobRejected"],
});

/**
 * Direct preference optimization with precomputed log-probabilities of the reference. The loss is the mean over pairs. Chosen and rejected
 * answers share one forward pass.
 */
export const dpoStage = preference.stage;

/** Factor of an answer's log-probability. ipo uses the mean over an answer's tokens, so that long answers do not weigh more. */
function shareOf(length: number, lossType: Objective["lossType"]): number {
  return lossType === "ipo" ? Math.fround(1 / length) : 1;
}

/** Checks a custom objective's result. @throws HeddleError INVALID_ARGUMENT unless it is one number per pair */
function needVector(losses: unknown, pairs: number): Value {
  if (losses instanceof Value && losses.dtype === "f32" && losses.rank === 1 && losses.dim(0) === pairs) return losses;
  const got = losses instanceof Value ? `${losses}` : describe(losses);
  throw new HeddleError("INVALID_ARGUMENT", `loss: expected a value f32(${pairs}), the loss of each pair, got ${got}`);
}
