import { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PromptRow } from "../examples/row-types.ts";
import type { Trainable } from "../loop/run-stage.ts";
import { rowData } from "../options/options.ts";
import { modelOption, number, type PreferenceOptions, preferenceShape } from "../preference/options.ts";
import { samplingShape } from "./draw.ts";
import { type Reward, rewardList } from "./rewards.ts";

/** Options of the stages in which the model answers prompts. */
export interface PolicyOptions<Base = LanguageModel> extends PreferenceOptions<Base, PromptRow> {
  /**
   * Rows {prompt, …}, required unless data is given. Files (.jsonl, .parquet), or in a program the rows. Further fields go to the rewards.
   * Default: data.
   */
  prompts?: RowSource<PromptRow> | undefined;
  /** Rows that are never trained on. Default: evalData. */
  evalPrompts?: RowSource<PromptRow> | undefined;
  /** Alias of prompts. Default: prompts. */
  data?: RowSource<PromptRow> | undefined;
  /** Alias of evalPrompts. Default: none. */
  evalData?: RowSource<PromptRow> | undefined;
  /** Rewards of answers: functions, and reward models as trained by `trainReward`. */
  rewards: readonly Reward[];
  /** Weight of each reward. Default: 1 each. */
  rewardWeights?: number[] | undefined;
  /** The reference model. Default: the policy itself before the first step. */
  refModel?: Trainable | undefined;
  /** Number of answers in one micro-batch. Default 8. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Maximum number of positions of a prompt with its answer. Default: the model's context. */
  maxSeqLength?: number | undefined;
  /** Maximum number of tokens of an answer. Default 256. */
  maxCompletionLength?: number | undefined;
  /** Sampling temperature of the answers: above 1 more varied, below 1 less. Default 1. */
  temperature?: number | undefined;
  /** Sample only from this number of the likeliest tokens; 0: all. Default 0. */
  topK?: number | undefined;
  /** Sample only from the likeliest tokens whose probabilities add up to this. Default 1. */
  topP?: number | undefined;
  /** Sample only from tokens that are at least this fraction as probable as the likeliest. Default 0. */
  minP?: number | undefined;
  /** Above 1: fewer repetitions. Default 1. */
  repetitionPenalty?: number | undefined;
  /**
   * Element type of the matrices for drawing answers. bf16 uses a rounded twin of the f32 weights, at up to twice the speed. Its draws are
   * weighted by importanceSamplingCap. Default: bf16 if dtype is bf16, or if the device has bf16 instructions (AVX-512 BF16, CUDA); else
   * f32. With lora, the model itself draws, in its stored type.
   */
  rolloutDtype?: "bf16" | "f32" | undefined;
  /**
   * Maximum weight of a token drawn by the twin. The weight is its probability under the policy divided by that under the twin. Default 2.
   */
  importanceSamplingCap?: number | undefined;
  /** Handling of a prompt that is too long: error stops, drop leaves it out, keep_end cuts its beginning. Default "error". */
  truncationMode?: PreferenceOptions["truncationMode"];
}

/** `PolicyOptions` as a schema. */
export const policyShape = {
  ...preferenceShape,
  ...samplingShape,
  prompts: rowData<PromptRow>().optional(),
  evalPrompts: rowData<PromptRow>().optional(),
  data: rowData<PromptRow>().optional(),
  evalData: rowData<PromptRow>().optional(),
  rewards: rewardList,
  rewardWeights: z.array(z.number({ error: "a number" }), { error: "an array of numbers" }).optional(),
  refModel: modelOption.optional(),
  rolloutDtype: z.enum(["bf16", "f32"]).optional(),
  importanceSamplingCap: number(1).default(2),
} as const;

/** Returns the rows with prompts. @throws HeddleError INVALID_ARGUMENT unless exactly one of the two options is given */
export function promptsOf({ prompts, data }: Pick<PolicyOptions, "prompts" | "data">): RowSource<PromptRow> {
  const given = prompts ?? data;
  if (given !== undefined && (prompts === undefined || data === undefined)) return given;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `prompts: expected rows with prompts, got ${given === undefined ? "none" : "both prompts and data"}`,
  );
}
