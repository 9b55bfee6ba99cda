import { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import { filesIn, type RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { Model } from "../../models/model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import type { PairRow } from "../examples/row-types.ts";
import type { Preparation } from "../loop/model-rollback.ts";
import type { Trainable } from "../loop/run-stage.ts";
import { dataNames } from "../loop/stage-card.ts";
import { adapterShape, rowData, trainingShape } from "../options/options.ts";
import type {
  AdapterOptions,
  CallOptions,
  EpochOptions,
  HeldOutOptions,
  SharedOptions,
} from "../options/stage-options.ts";
import type { World } from "../world/world.ts";
import { type TruncationMode, truncationModes } from "./fit.ts";

export const number = (least: number, most = Number.POSITIVE_INFINITY) => {
  const expected =
    most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`;
  return z.custom<number>((v) => typeof v === "number" && v >= least && v <= most, expected);
};
export const whole = (least: number) =>
  z.custom<number>((v) => Number.isSafeInteger(v) && (v as number) >= least, `a whole number of at least ${least}`);
export const flag = z.boolean({ error: "true or false" });

/** A model for comparison or judging; in a configuration file its path. */
export const modelOption = z.custom<Trainable>(
  (v) => typeof v === "object" && v !== null && "model" in v,
  "a model (LanguageModel.load), or in a configuration file the path of one",
);

/** Schemas of training and held-out rows. */
export const rowsShape = <Row>() => ({ data: rowData<Row>(), evalData: rowData<Row>().optional() });

/** `PreferenceOptions` as a schema, without the rows. */
export const preferenceShape = {
  ...trainingShape,
  ...adapterShape,
  maxSteps: trainingShape.maxSteps.optional(),
  numTrainEpochs: z
    .custom<number>((v) => typeof v === "number" && v > 0 && Number.isFinite(v), "a number above 0")
    .default(3),
  learningRate: trainingShape.learningRate.unwrap().optional(),
  weightDecay: trainingShape.weightDecay.unwrap().default(0),
  evalFraction: number(0, 0.5).optional(),
  chatTemplate: z.string({ error: "a text" }).optional(),
  truncationMode: z.enum(truncationModes).default("error"),
} as const;

/** A model with its tokenizer, for preference training. `LanguageModel` implements it. */
export interface PreferenceTrainable extends Trainable {
  readonly tokenizer?: Tokenizer | undefined;
}

/** Options of the stages that learn from preferences and rewards; names follow TRL. */
export interface PreferenceOptions<Base = LanguageModel, Row = object>
  extends SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<Row>,
    AdapterOptions,
    CallOptions {
  /** AdamW's weight decay of matrices, multiplied by the learning rate. Default 0. */
  weightDecay?: number | undefined;
  /** Name or text of the chat template for prompts that are messages. Default: the tokenizer's own. */
  chatTemplate?: string | undefined;
  /**
   * Handling of a prompt with its answer that is longer than maxSeqLength: error stops, drop leaves it out, keep_end cuts the prompt's
   * beginning. Default "error".
   */
  truncationMode?: TruncationMode | undefined;
}

/** Options of the stages over pairs of answers. */
export interface PairOptions<Base = LanguageModel> extends PreferenceOptions<Base, PairRow> {
  /**
   * Rows {prompt, chosen, rejected} (texts, or arrays of messages), or {prompt, ranked} with answers from best to worst. Files (.jsonl,
   * .parquet), or in a program the rows.
   */
  data: RowSource<PairRow>;
  /** Number of pairs in one micro-batch. Default 8. */
  perDeviceTrainBatchSize?: number | undefined;
}

/** Arguments of a preference stage. */
export type Call = Pick<CallOptions, "signal" | "world"> & { warn(message: string): void; preparation: Preparation };

/** Returns the number of steps of a run: the given one, or that of the epochs. */
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

/** Returns the number of rows of a sequence: that of the longest, rounded up to whole vectors. */
export function sequenceLengthFor(longest: number, limit: number): number {
  return Math.min(limit, Math.ceil(longest / 8) * 8);
}

/** Returns the names of the data for a model card: file names. */
export function namesOf(data: RowSource): string[] {
  return dataNames(filesIn(data));
}

/** @throws HeddleError INVALID_ARGUMENT if the models' vocabularies differ */
export function needSameVocabulary(name: string, other: Model, model: Model): void {
  if (other.config.vocabSize !== model.config.vocabSize)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${name}: expected a model with the vocabulary of the one that is trained (${model.config.vocabSize}), got ${other.config.vocabSize}`,
    );
}
