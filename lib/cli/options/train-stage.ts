import type { z } from "zod";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import { latestCheckpoint } from "../../formats/checkpoint/checkpoint.ts";
import type { ModelConfigInput } from "../../formats/config/config.ts";
import { type CreateModelAsyncOptions, createModelAsync } from "../../language-model/create.ts";
import { LanguageModel } from "../../language-model/language-model.ts";
import { Tokenizer } from "../../tokenizer/index.ts";
import { needUsable } from "../../train/loop/output-folder.ts";
import type { TrainEvent, TrainResult } from "../../train/loop/trainer.ts";
import { fileShape, readTrainingConfig } from "../../train/options/config-file.ts";
import { needKnownNames } from "../../train/options/parse-options.ts";
import { howStopped } from "../terminal/interrupt.ts";
import { NamedModels } from "./named-models.ts";

/** Every stage that a configuration file can run. */
export type StageName = "pretrain" | "sft" | "classify" | "embed" | "reward" | "dpo" | "kto" | "orpo" | "ppo" | "grpo";

/** A stage's exported function, which checks the options itself. */
export type StageFunction = (base: LanguageModel, options: never) => Run<TrainEvent, TrainResult>;

/** A stage, with the strict schema of its options. */
export interface LoadedStage {
  name: string;
  run: StageFunction;
  schema: z.ZodObject;
}

export interface TrainStageOptions {
  /** Path of the configuration file. */
  config: string;
  /** Continue from the newest checkpoint in outputDir, if any. */
  resume?: boolean | undefined;
  /** Options that override those of the file, if given. */
  instead?: Readonly<Record<string, unknown>> | undefined;
  device?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called with the number of initialized parameters of a new model and the total, before it trains. */
  onDraw?(done: number, total: number): void;
  /** Called for each event. @param config the options from the file and the command line */
  onEvent(event: TrainEvent, config: Readonly<Record<string, unknown>>): void;
  onWarning?(message: string): void;
}

/**
 * Runs a stage on a model from a path or a configuration, with the file's options.
 * @throws HeddleError as the stage, with option names as in the file; ABORTED names the saved checkpoint
 */
export async function trainStage(stage: LoadedStage, options: TrainStageOptions): Promise<TrainResult> {
  const instead = Object.entries(options.instead ?? {}).filter(([, value]) => value !== undefined);
  const { options: inFile, written } = await readTrainingConfig(options.config);
  for (const [name] of instead) written.forget(name);
  const config = { ...inFile, ...Object.fromEntries(instead) };
  try {
    return await runConfigured(stage, config, options);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    if (error.code === "ABORTED" && options.signal?.aborted) throw await stopped(error, config.outputDir);
    throw new HeddleError(error.code, written.inMessage(error.message), { cause: error });
  }
}

async function runConfigured(
  stage: LoadedStage,
  config: Record<string, unknown>,
  options: TrainStageOptions,
): Promise<TrainResult> {
  needKnownNames({ ...fileShape, ...stage.schema.shape }, config, stage.name);
  const { model: from, tokenizer: tokenizerPath, ...rest } = config;
  if (tokenizerPath !== undefined && typeof tokenizerPath !== "string")
    throw invalidArgument("tokenizer", "a folder", tokenizerPath);
  if (typeof from !== "string" && (typeof from !== "object" || from === null))
    throw invalidArgument("model", "the path of a checkpoint, or a configuration", from);
  if (rest.outputDir === undefined && options.resume)
    throw new HeddleError("INVALID_ARGUMENT", "outputDir: expected the folder to resume from, got none");
  await needUsableSoon(rest, options.resume);
  const tokenizer = tokenizerPath === undefined ? undefined : await Tokenizer.load(tokenizerPath);
  const { signal, onWarning } = options;
  const place = { device: options.device, threads: options.threads };
  const base =
    typeof from === "string"
      ? await loadedBase(from, tokenizer, { ...place, signal })
      : await newBase(from, tokenizer, {
          ...place,
          signal,
          seed: typeof rest.seed === "number" ? rest.seed : 0,
          onProgress: options.onDraw,
        });
  const others = new NamedModels({ ...place, signal });
  try {
    const given = await others.resolve(rest);
    const training = {
      ...given,
      ...(options.resume && { resume: "auto" }),
      signal,
      ...(onWarning && { onWarning }),
    };
    const run = stage.run(base, training as never);
    // Without outputDir the trained model is lost at the end, which may be intended for benchmarks. The warning is printed when training
    // starts, so that for invalid input only the error is printed.
    let mustWarn = rest.outputDir === undefined;
    for await (const event of run) {
      if (mustWarn) onWarning?.("outputDir is not set: the trained model will not be saved");
      mustWarn = false;
      options.onEvent(event, config);
    }
    return await run;
  } finally {
    await others.dispose();
    await base.dispose();
  }
}

/** Refuses a used outputDir before a model is loaded or initialized. The stage reports all other problems of the options. */
async function needUsableSoon(config: Record<string, unknown>, resume: boolean | undefined): Promise<void> {
  const { outputDir, overwriteOutputDir } = config;
  if (typeof outputDir !== "string" || outputDir === "") return;
  const resumes = resume ? "auto" : config.resume;
  const use = {
    outputDir,
    resume: typeof resumes === "string" || resumes === true ? resumes : false,
    overwriteOutputDir: overwriteOutputDir === true,
  };
  await needUsable(use).catch((error: unknown) => {
    if (error instanceof HeddleError && error.code === "INVALID_ARGUMENT") throw error;
  });
}

/** Adds to the error of a stopped run where it can be resumed. */
async function stopped(error: HeddleError, outputDir: unknown): Promise<HeddleError> {
  const latest = typeof outputDir === "string" ? await latestCheckpoint(outputDir).catch(() => undefined) : undefined;
  const why = outputDir === undefined ? "outputDir is not set" : "the first step was not complete";
  const next = latest ? `use --resume to continue from ${latest.path}` : `nothing was saved because ${why}`;
  return new HeddleError("ABORTED", `train: stopped ${howStopped()}; ${next}`, { cause: error });
}

async function loadedBase(
  path: string,
  tokenizer: Tokenizer | undefined,
  options: { device: string | undefined; threads: number | undefined; signal: AbortSignal | undefined },
): Promise<LanguageModel> {
  const model = await LanguageModel.load(path, options);
  if (tokenizer) model.tokenizer = tokenizer;
  return model;
}

async function newBase(
  config: object,
  tokenizer: Tokenizer | undefined,
  options: CreateModelAsyncOptions,
): Promise<LanguageModel> {
  if (!tokenizer)
    throw new HeddleError("INVALID_ARGUMENT", "tokenizer: expected a folder (required for a new model), got none");
  return createModelAsync(config as ModelConfigInput, { tokenizer, ...options });
}
