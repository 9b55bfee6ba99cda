import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { real, whole } from "../../core/schema-parts.ts";
import { input, mul, sub, sum, type Value } from "../../graph/index.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import { paddedRowInputs } from "../../models/forward.ts";
import type { KtoRow } from "../examples/row-types.ts";
import type { Stage } from "../loop/stage.ts";
import { startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { type KtoLossType, ktoDivergence, ktoLoss, ktoLossTypes } from "../losses/kto.ts";
import { batchShape } from "../options/optimizer-options.ts";
import { type Given, option, variant } from "../options/option.ts";
import { peakLearningRate, trainingRows } from "../options/stage-options.ts";
import {
  divergenceShape,
  type PreferenceOptions,
  type PreferenceTrainable,
  preferencePeaks,
  preferenceStageShape,
  referenceShape,
} from "../preference/options.ts";
import { type RatedAnswer, readRatedAnswers } from "../preference/rated-answers.ts";
import { scoredByReference } from "../preference/reference.ts";
import { runPreference } from "../preference/run-preference.ts";
import {
  type AnsweredPrompt,
  answerRows,
  perSlot,
  sequenceSums,
  slotsOf,
  targetLogprobs,
} from "../preference/sequences.ts";

const answerShape = {
  /** Rows {prompt, completion, label} with label true (good) or false: files (.jsonl, .parquet), or in a program the rows. */
  data: trainingRows<KtoRow>(
    ".jsonl or .parquet files of rows {prompt, completion, label}; label is true (good) or false",
  ),
  /** Number of answers in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "answers per micro-batch",
  }),
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
};

const ktoShape = {
  /** The objective. Default "kto". */
  lossType: option(z.enum(ktoLossTypes).default("kto"), "loss function"),
  /** Weight of good answers. Default 1. */
  desirableWeight: option(real(0).default(1), "weight of good answers"),
  /** Weight of bad answers. Default 1. */
  undesirableWeight: option(real(0).default(1), "weight of bad answers"),
};

/** The strict schema of the options of Kahneman–Tversky optimization, as in a configuration file. */
export const ktoSchema = z
  .strictObject({
    ...preferenceStageShape<KtoRow>(),
    ...referenceShape,
    ...answerShape,
    ...divergenceShape,
    ...ktoShape,
  })
  .superRefine(({ lossType, perDeviceTrainBatchSize }, context) => {
    if (lossType === "kto" && perDeviceTrainBatchSize < 2)
      context.addIssue({
        code: "custom",
        path: ["perDeviceTrainBatchSize"],
        message: "at least 2, because the divergence is estimated from answers to other prompts",
      });
  });

/** Options of `kto`. */
export interface KtoOptions<Base = LanguageModel>
  extends Given<typeof answerShape>,
    Given<typeof divergenceShape>,
    Given<typeof ktoShape>,
    Given<typeof referenceShape>,
    PreferenceOptions<Base, KtoRow> {}

/**
 * Kahneman–Tversky optimization (Ethayarajh et al. 2024): learns from single answers that are good or bad. Rows are `{
 * prompt, completion, label }` with label true (good) or false.
 *
 * Metrics: rewardChosen and rewardRejected, the mean rewards of good and of bad answers, rewardMargin, kl. An answer's
 * reward is β · (log-probability under the policy − log-probability under the reference).
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE `file:line: …` for a row, or
 * `file: …` if all labels are equal, NUMERICAL, ABORTED
 */
export function kto<Base extends PreferenceTrainable>(
  base: Base,
  options: KtoOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "kto", schema: ktoSchema }, options, run);
}

const run = runPreference<z.output<typeof ktoSchema>, LabeledAnswer>({
  peaks: preferencePeaks,
  about: {
    notes: "Tuned on answers that people found good or bad (KTO).",
    evaluation: { name: "held-out answers", metric: "KTO loss" },
  },
  sequencesEach: 1,
  async items(base, options, call) {
    const rated = await readRatedAnswers(base, options, call);
    return scoredByReference<RatedAnswer, LabeledAnswer>(base, rated, options, call, {
      sequences: options.perDeviceTrainBatchSize,
      answers: ({ answer, other }) => [answer, other],
      scored: ({ answer, desirable, other }, [reference, ofOther]) => ({
        answer,
        desirable,
        reference: reference!,
        mismatched: { answer: other, reference: ofOther! },
      }),
      identify: ({ reference }) => [reference],
    });
  },
  stage: (options, { items: answers, sequenceLength }) => ktoStage({ ...options, answers, sequenceLength }),
});

/** A good or bad answer, with its log-probability under the reference. */
interface LabeledAnswer {
  readonly answer: AnsweredPrompt;
  readonly desirable: boolean;
  readonly reference: number;
  /** The prompt with an answer to another prompt, and its log-probability under the reference. Used to estimate the divergence. */
  readonly mismatched: { answer: AnsweredPrompt; reference: number };
}

interface KtoStageOptions {
  beta: number;
  lossType: KtoLossType;
  desirableWeight: number;
  undesirableWeight: number;
  sequenceLength: number;
  /** Number of answers in a micro-batch. */
  answers: number;
}

/**
 * The stage of Kahneman–Tversky optimization. The loss is the mean over answers. The divergence from the reference is estimated from the
 * micro-batch's mismatched answers, in a second forward pass without a gradient.
 */
export function ktoStage(options: KtoStageOptions): Stage<readonly LabeledAnswer[]> {
  const { answers, sequenceLength, beta, lossType } = options;
  const placed = (list: readonly AnsweredPrompt[]) => answerRows(slotsOf(list, answers), sequenceLength);
  return {
    name: "kto",
    count: (batch) => batch.length,
    collate(batch, total) {
      const own = placed(batch.map((row) => row.answer));
      const numbers = (value: (row: LabeledAnswer) => number) => perSlot(batch, answers, value);
      const weight = (row: LabeledAnswer) => (row.desirable ? options.desirableWeight : options.undesirableWeight);
      const inputs = {
        ...own.inputs,
        signs: numbers((row) => (row.desirable ? 1 : -1)),
        references: numbers((row) => row.reference),
        answerWeights: numbers((row) => weight(row) / total),
      };
      if (lossType !== "kto") return { inputs, tokens: own.tokens, counted: batch.length };
      const other = placed(batch.map((row) => row.mismatched.answer));
      return {
        inputs: {
          ...inputs,
          otherIds: other.inputs.ids,
          otherLengths: other.inputs.lengths,
          otherTargets: other.inputs.targets,
          otherReferences: numbers((row) => row.mismatched.reference),
          otherWeights: numbers(() => 1 / batch.length),
        },
        tokens: own.tokens + other.tokens,
        counted: batch.length,
      };
    },
    loss({ forward, rows }) {
      const vector = (name: string) => input(name, "f32", [answers]);
      const ratioOf = (pass: Parameters<typeof targetLogprobs>[0], targets: string, references: string): Value =>
        sub(sequenceSums(targetLogprobs(pass, targets), answers), vector(references));
      const ratio = ratioOf(forward(), "targets", "references");
      let kl: Value | undefined;
      if (lossType === "kto") {
        const other = forward({ rows: paddedRowInputs(rows, { ids: "otherIds", lengths: "otherLengths" }) });
        kl = ktoDivergence(ratioOf(other, "otherTargets", "otherReferences"), vector("otherWeights"));
      }
      const { losses, rewards } = ktoLoss({ ratio, sign: vector("signs"), kl }, { beta });
      return { loss: sum(mul(losses, vector("answerWeights"))), rewards, ...(kl && { kl }) };
    },
    metricCounts(batches) {
      const good = batches.flat().filter((row) => row.desirable).length;
      return { rewardChosen: good, rewardRejected: batches.flat().length - good };
    },
    derived: ({ rewardChosen, rewardRejected }) =>
      rewardChosen === undefined || rewardRejected === undefined ? {} : marginOf(rewardChosen, rewardRejected),
    metrics(outputs, batches) {
      const rewards = (desirable: boolean) =>
        batches.flatMap((batch, k) =>
          batch.flatMap((row, i) => (row.desirable === desirable ? [outputs[k]!.rewards![i]!] : [])),
        );
      const [good, bad] = [rewards(true), rewards(false)];
      return {
        ...(good.length > 0 && { rewardChosen: mean(good) }),
        ...(bad.length > 0 && { rewardRejected: mean(bad) }),
        ...(good.length > 0 && bad.length > 0 && marginOf(mean(good), mean(bad))),
        ...(lossType === "kto" && { kl: mean(outputs.map((o) => o.kl![0]!)) }),
      };
    },
  };
}

const marginOf = (chosen: number, rejected: number) => ({ rewardMargin: chosen - rejected });
