import { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import { flag, positive, real, whole } from "../../core/schema-parts.ts";
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { PromptRow } from "../examples/row-types.ts";
import { batchShape } from "../options/optimizer-options.ts";
import { type Given, option, variant } from "../options/option.ts";
import { heldOutRows, rows } from "../options/stage-options.ts";
import { textDataShape } from "../options/text-data.ts";
import { truncationModes } from "../preference/fit.ts";
import {
  type PreferenceOptions,
  preferenceShape,
  preferenceStageShape,
  referenceShape,
} from "../preference/options.ts";
import { rewardList } from "./rewards.ts";

const share = () => z.custom<number>((v) => typeof v === "number" && v > 0 && v <= 1, "a number above 0 and at most 1");

/** Sampling options; names as in `generate`, defaults as in TRL. */
export const samplingShape = {
  /** Maximum number of tokens of an answer. Default 256. */
  maxCompletionLength: option(whole(1).default(256), "maximum tokens per answer", {
    aliases: "maxtokens maxnewtokens responselength",
  }),
  /** Sampling temperature of the answers: above 1 more varied, below 1 less. Default 1. */
  temperature: option(positive().default(1), "sampling temperature"),
  /** Sample only from this number of the likeliest tokens; 0: all. Default 0. */
  topK: option(whole(0).default(0), "sample from this many most likely tokens; 0: from all"),
  /** Sample only from the likeliest tokens whose probabilities add up to this. Default 1. */
  topP: option(share().default(1), "sample from the most likely tokens with this total probability"),
  /** Sample only from tokens that are at least this fraction as probable as the likeliest. Default 0. */
  minP: option(real(0, 1).default(0), "sample from tokens with at least this fraction of the highest probability"),
  /** Above 1: fewer repetitions. Default 1. */
  repetitionPenalty: option(positive().default(1), "values above 1 penalize repetition"),
};

const policyShape = {
  /**
   * Rows {prompt, …}, required unless `data` is given. Files (.jsonl, .parquet), or in a program the rows. Further
   * fields are passed to the rewards. Default: data.
   */
  prompts: option(
    rows<PromptRow>().optional(),
    ".jsonl or .parquet files of rows {prompt, …}, required unless data is given; reward functions receive all fields",
    { recorded: false },
  ),
  /** Rows that are never trained on. Default: evalData. */
  evalPrompts: option(rows<PromptRow>().optional(), "rows for evaluation, never trained on", { recorded: false }),
  /** Alias of prompts. Give only one of the two. Default: prompts. */
  data: variant(textDataShape.data, rows<PromptRow>().optional(), { help: "alias of prompts" }),
  /** Alias of evalPrompts. Default: none. */
  evalData: heldOutRows<PromptRow>("alias of evalPrompts"),
  /** Rewards of answers: functions, and reward models as trained by `trainReward`. */
  rewards: option(rewardList, "paths of modules that export reward functions, and of reward models", {
    aliases: "reward rewardfuncs rewardfunctions rewardmodel",
  }),
  /** Weight of each reward. Default: 1 each. */
  rewardWeights: option(
    z.array(z.number({ error: "a number" }), { error: "an array of numbers" }).optional(),
    "weight of each reward",
    { otherwise: "1 each" },
  ),
  /** Number of answers in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "answers per micro-batch",
  }),
  /** Maximum number of positions of a prompt with its answer. Default: the model's context. */
  maxSeqLength: variant(batchShape.maxSeqLength, whole(1).optional(), {
    help: "maximum tokens of prompt and answer together",
    otherwise: "the model's context length",
  }),
  /**
   * Log answers of the last rollout at each logged step: in the event's `completions`, in `completions.jsonl` in outputDir, and in trackers.
   * The command line prints them. Default false.
   */
  logCompletions: option(
    flag().default(false),
    "print sampled answers with their rewards, and write completions.jsonl",
    {
      aliases: "logsamples printcompletions",
      recorded: false,
    },
  ),
  /** Number of answers that logCompletions logs: the first of a rollout. Default 8. */
  numCompletionsToPrint: option(whole(1).default(8), "number of answers that logCompletions logs", { recorded: false }),
  /**
   * Element type of the matrices for drawing answers. bf16 draws from the sampler, a rounded copy of the f32 weights,
   * at up to twice the speed. Tokens that the sampler draws get importance weights of at most importanceSamplingCap.
   * Default: bf16 if dtype is bf16, or if the device has bf16 instructions (AVX-512 BF16, Armv8.6, CUDA); else f32.
   * With lora, the model itself draws, in its stored type.
   */
  rolloutDtype: option(
    z.enum(["bf16", "f32"]).optional(),
    "data type for sampling answers; bf16 uses a rounded copy of the weights",
    { otherwise: "bf16 if dtype is bf16 or the device multiplies bf16; else f32" },
  ),
  /**
   * Maximum importance weight of a token drawn by the sampler: its probability under the policy divided by its
   * probability under the sampler. Default 2.
   */
  importanceSamplingCap: option(
    real(1).default(2),
    "upper bound of the importance weight of tokens that the rounded copy sampled",
  ),
  /** Handling of a prompt that is too long: error stops, drop leaves it out, keep_end cuts its beginning. Default "error". */
  truncationMode: variant(preferenceShape.truncationMode, z.enum(truncationModes).default("error"), {
    help: "if a prompt is too long: keep_end cuts its start",
  }),
};

/** All options of the stages in which the model answers prompts. */
export const policyStageShape = {
  ...preferenceStageShape<PromptRow>(),
  ...samplingShape,
  ...policyShape,
  ...referenceShape,
};

/** Options of the stages in which the model answers prompts. */
export interface PolicyOptions<Base = LanguageModel>
  extends Given<typeof policyShape>,
    Given<typeof samplingShape>,
    Given<typeof referenceShape>,
    PreferenceOptions<Base, PromptRow> {}

/** Returns the rows with prompts. @throws HeddleError INVALID_ARGUMENT unless exactly one of the two options is given */
export function promptsOf({ prompts, data }: Pick<PolicyOptions, "prompts" | "data">): RowSource<PromptRow> {
  const given = prompts ?? data;
  if (given !== undefined && (prompts === undefined || data === undefined)) return given;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `prompts: expected rows with prompts, got ${given === undefined ? "none" : "both prompts and data"}`,
  );
}
