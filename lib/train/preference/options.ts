import { z } from "zod";
import type { RowSource } from "../../data/rows.ts";
import { HeddleError } from "../../errors.ts";
import type { Model } from "../../models/model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { dataNames } from "../card.ts";
import { adapterShape, rowData, trainingShape } from "../options.ts";
import type { Trainable } from "../run-stage.ts";
import type { World } from "../world.ts";
import { truncationModes } from "./fit.ts";

export const number = (least: number, most = Number.POSITIVE_INFINITY) => {
  const expected =
    most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`;
  return z.custom<number>((v) => typeof v === "number" && v >= least && v <= most, expected);
};
export const whole = (least: number) =>
  z.custom<number>((v) => Number.isSafeInteger(v) && (v as number) >= least, `a whole number of at least ${least}`);
export const flag = z.boolean({ error: "true or false" });

/** A model that something is compared with or judged by; in a configuration file its path. */
export const modelOption = z.custom<Trainable>(
  (v) => typeof v === "object" && v !== null && "model" in v,
  "a model (LanguageModel.load), or in a configuration file the path of one",
);

/** Options of every stage of preference training over rows; names follow TRL. */
export const preferenceShape = {
  ...trainingShape,
  ...adapterShape,
  /** Optimiser steps in all; else numTrainEpochs says how many. */
  maxSteps: trainingShape.maxSteps.optional(),
  /** Passes over the rows, where maxSteps is not given. */
  numTrainEpochs: z
    .custom<number>((v) => typeof v === "number" && v > 0 && Number.isFinite(v), "a number above 0")
    .default(3),
  /** Default: the stage's own, of dpo, kto, orpo and grpo 1e-6, 1e-5 with lora (see LEARNING_RATES). */
  learningRate: trainingShape.learningRate.unwrap().optional(),
  weightDecay: trainingShape.weightDecay.unwrap().default(0),
  data: rowData,
  /** Rows that are never trained on. */
  evalData: rowData.optional(),
  /** Without evalData: the share of `data`'s rows that is held out instead. */
  evalFraction: number(0, 0.5).optional(),
  /** Name or text of the chat template of prompts that are messages; the tokenizer's own where not given. */
  chatTemplate: z.string({ error: "a text" }).optional(),
  /** What happens to a prompt with its answer that is longer than maxSeqLength: see each stage's rows. */
  truncationMode: z.enum(truncationModes).default("error"),
} as const;

/** What preference training trains: a model with its tokenizer. `LanguageModel` is one. */
export interface PreferenceTrainable extends Trainable {
  readonly tokenizer?: Tokenizer | undefined;
}

/** Options with rows of any kind, as a program gives them. */
export type WithRows<Options> = Omit<Options, "data" | "evalData"> & {
  data: RowSource;
  evalData?: RowSource | undefined;
};

/** What a call gives besides the options of a file. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** The processes that train together. Default: this one. */
  world?: World | undefined;
  /** Told of rows that are left out. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}

/** What a stage of preference training is started with. */
export type Call = Pick<CallOptions, "signal" | "world"> & { warn(message: string): void };

/** Steps of a run: those that are asked for, or as many as the epochs have. */
export function stepsOf(
  options: {
    maxSteps?: number | undefined;
    numTrainEpochs: number;
    perDeviceTrainBatchSize: number;
    gradientAccumulationSteps: number;
  },
  items: number,
  world: Pick<World, "size"> = { size: 1 },
): number {
  const perStep = options.perDeviceTrainBatchSize * options.gradientAccumulationSteps * world.size;
  return options.maxSteps ?? Math.max(1, Math.ceil((options.numTrainEpochs * items) / perStep));
}

/** Rows of a sequence: no more than the longest needs, in whole vectors. */
export function sequenceLengthFor(longest: number, limit: number): number {
  return Math.min(limit, Math.ceil(longest / 8) * 8);
}

/** How a model card names the data: files by their names. */
export function namesOf(data: RowSource): string[] {
  if (typeof data === "string") return dataNames(data);
  return Array.isArray(data) && data.every((d) => typeof d === "string") ? dataNames(data as string[]) : [];
}

/** @throws HeddleError INVALID_ARGUMENT where a model's vocabulary is another one */
export function needSameVocabulary(name: string, other: Model, model: Model): void {
  if (other.config.vocabSize !== model.config.vocabSize)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${name}: expected a model with the vocabulary of the one that is trained (${model.config.vocabSize}), got ${other.config.vocabSize}`,
    );
}
