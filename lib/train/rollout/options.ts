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

/** Options of the stages in which the model answers prompts itself. */
export interface PolicyOptions<Base = LanguageModel> extends PreferenceOptions<Base, PromptRow> {
  /**
   * Rows {prompt, …}, needed where data is not given: files (.jsonl, .parquet), or in a program the rows. Further fields go to the rewards.
   * Default: data.
   */
  prompts?: RowSource<PromptRow> | undefined;
  /** Rows that are never trained on. Default: evalData. */
  evalPrompts?: RowSource<PromptRow> | undefined;
  /** Another name of prompts. Default: prompts. */
  data?: RowSource<PromptRow> | undefined;
  /** Another name of evalPrompts. Default: none. */
  evalData?: RowSource<PromptRow> | undefined;
  /** What answers are worth: functions, and reward models as `trainReward` makes them. */
  rewards: readonly Reward[];
  /** Weight of each reward. Default: 1 each. */
  rewardWeights?: number[] | undefined;
  /** What the policy is held to. Default: itself, as it is before the first step. */
  refModel?: Trainable | undefined;
  /** Answers of one micro-batch. Default 8. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Positions of a prompt with its answer. Default: the model's context. */
  maxSeqLength?: number | undefined;
  /** Tokens of an answer at most. Default 256. */
  maxCompletionLength?: number | undefined;
  /** Of the answers: above 1 more varied, below 1 less. Default 1. */
  temperature?: number | undefined;
  /** Answers are drawn from so many of the likeliest tokens; 0: from all. Default 0. */
  topK?: number | undefined;
  /** Answers are drawn from the likeliest tokens that reach this probability together. Default 1. */
  topP?: number | undefined;
  /** Answers are drawn from tokens this many times as probable as the likeliest. Default 0. */
  minP?: number | undefined;
  /** Above 1: fewer repetitions. Default 1. */
  repetitionPenalty?: number | undefined;
  /**
   * Element type of the matrices that answers are drawn from. bf16: a rounded twin of the f32 weights, at up to twice the rate, whose draws
   * are weighted by importanceSamplingCap. Default: bf16 where dtype is, and where the device has instructions for it (AVX-512
   * BF16, CUDA); f32 otherwise. With lora the model itself draws, as it is stored.
   */
  rolloutDtype?: "bf16" | "f32" | undefined;
  /** A token drawn by the twin counts by its probability under the policy over that under the twin, up to this. Default 2. */
  importanceSamplingCap?: number | undefined;
  /** What happens to a prompt that is too long: error stops, drop leaves it out, keep_end cuts its beginning. Default "error". */
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

/** The rows with prompts. @throws HeddleError INVALID_ARGUMENT unless there is exactly one source of them */
export function promptsOf({ prompts, data }: Pick<PolicyOptions, "prompts" | "data">): RowSource<PromptRow> {
  const given = prompts ?? data;
  if (given !== undefined && (prompts === undefined || data === undefined)) return given;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `prompts: expected rows with prompts, got ${given === undefined ? "none" : "both prompts and data"}`,
  );
}
