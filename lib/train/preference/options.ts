import { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import { real, text, whole } from "../../core/schema-parts.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { Model } from "../../models/model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Trainable } from "../loop/run-stage.ts";
import { batchShape, optimizerShape } from "../options/optimizer-options.ts";
import { type Given, option, variant } from "../options/option.ts";
import { type SharedOptions, sharedShape } from "../options/shared-options.ts";
import {
  type AdapterOptions,
  adapterShape,
  type CallOptions,
  type EpochOptions,
  epochShape,
  type HeldOutOptions,
  heldOutShape,
  KL_ALIASES,
  type PeakRates,
  peakLearningRate,
  trainingRows,
} from "../options/stage-options.ts";
import { truncationModes } from "./fit.ts";

/** Options that the stages of preference training share. */
export const preferenceShape = {
  /** AdamW's weight decay of matrices, multiplied by the learning rate. Default 0. */
  weightDecay: variant(optimizerShape.weightDecay, real(0).default(0)),
  /** Name or text of the chat template for prompts that are messages. Default: the tokenizer's own. */
  chatTemplate: option(text().optional(), "name or text of the chat template, for prompts that are messages", {
    otherwise: "that of the tokenizer",
    aliases: "template",
  }),
  /**
   * Handling of a prompt with its answer that is longer than maxSeqLength: error stops, drop leaves it out, keep_end cuts the prompt's
   * beginning. Default "error".
   */
  truncationMode: option(
    z.enum(truncationModes).default("error"),
    "if prompt and answer are too long: keep_end cuts the start of the prompt",
  ),
};

/** Default peak learning rates of `dpo`, `kto`, `orpo`, `simpo` and `grpo`. */
export const preferencePeaks: PeakRates = { lora: 1e-5, weights: 1e-6 };

/** All options of the stages that learn from preferences and rewards, without the rows to train on. */
export const preferenceStageShape = <Row>() => ({
  ...sharedShape,
  ...epochShape,
  ...heldOutShape<Row>(),
  ...adapterShape,
  ...preferenceShape,
});

/** Options of the stages that learn from preferences and rewards; names follow TRL. */
export interface PreferenceOptions<Base = LanguageModel, Row = object>
  extends Given<typeof preferenceShape>,
    SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<Row>,
    AdapterOptions,
    CallOptions {}

/** Options of stages over pairs. */
export const pairShape = {
  /** Peak of the schedule. Default: 1e-6; 1e-5 with lora. */
  learningRate: peakLearningRate(preferencePeaks),
  /**
   * Rows {prompt, chosen, rejected} (texts, or arrays of messages), or {prompt, ranked} with answers from best to worst. Files (.jsonl,
   * .parquet), or in a program the rows.
   */
  data: trainingRows<PairRow>(".jsonl or .parquet files of rows {prompt, chosen, rejected}, or {prompt, ranked}"),
  /** Number of pairs in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "pairs per micro-batch",
  }),
};

/** Options of the stages over pairs of answers. */
export interface PairOptions<Base = LanguageModel> extends Given<typeof pairShape>, PreferenceOptions<Base, PairRow> {}

/** Options of stages with a reference model. */
export const referenceShape = {
  /** The reference model. Default: the policy itself before the first step. */
  refModel: option(
    z
      .custom<Trainable>(
        (v) => typeof v === "object" && v !== null && "model" in v,
        "a model (LanguageModel.load), or in a configuration file the path of one",
      )
      .optional(),
    "path of the reference model",
    { otherwise: "the model before training", aliases: "reference referencemodel" },
  ),
};

/** Options of stages with a penalty for diverging from the reference. */
export const divergenceShape = {
  /** Strength of the penalty for diverging from the reference. Default 0.1. */
  beta: option(real(0).default(0.1), "strength of the penalty for leaving the reference model", {
    aliases: KL_ALIASES,
  }),
};

/** A model with its tokenizer, for preference training. `LanguageModel` implements it. */
export interface PreferenceTrainable extends Trainable {
  /** The tokenizer, which encodes prompts and answers. */
  readonly tokenizer?: Tokenizer | undefined;
}

/** Checks that two models have the same vocabulary size. @throws HeddleError INVALID_ARGUMENT */
export function needSameVocabulary(name: string, other: Model, model: Model): void {
  if (other.config.vocabSize !== model.config.vocabSize)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${name}: expected a model with the vocabulary of the one that is trained (${model.config.vocabSize}), got ${other.config.vocabSize}`,
    );
}
