import type { z } from "zod";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import { latestCheckpoint } from "../../formats/checkpoint/checkpoint.ts";
import type { ModelConfigInput } from "../../formats/config/config.ts";
import { type CreateModelAsyncOptions, createModelAsync } from "../../language-model/create.ts";
import { LanguageModel } from "../../language-model/language-model.ts";
import { Tokenizer } from "../../tokenizer/index.ts";
import { needUsable } from "../../train/checkpoint/output-folder.ts";
import type { TrainEvent, TrainResult } from "../../train/loop/trainer.ts";
import { fileShape, readTrainingConfig } from "../../train/options/config-file.ts";
import { needKnownNames } from "../../train/options/parse-options.ts";
import { stopIfAgreed, stopTogether } from "../../train/world/stop-together.ts";
import { howStopped, stopWithOthers } from "../terminal/interrupt.ts";
import { NamedModels } from "./named-models.ts";
import { inWorld, type Place } from "./train-world.ts";

/** A stage's exported function, which checks the options itself. */
export type StageFunction = (base: LanguageModel, options: never) => Run<TrainEvent, TrainResult>;

/** A stage, with the strict schema of its options. */
interface LoadedStage {
  name: string;
  run: StageFunction;
  schema: z.ZodObject;
}

interface TrainStageOptions {
  /** Path of the configuration file. */
  config: string;
  /** Continue from the newest checkpoint in outputDir, if any. */
  resume?: boolean | undefined;
  /** Options that override those of the file. Undefined values override nothing. */
  overrides?: Readonly<Record<string, unknown>> | undefined;
  device?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called while a new model is initialized. @param done number of parameters that have a value @param total number of parameters */
  onDraw?(done: number, total: number): void;
  /** Called for each event. @param config the options from the file and the command line */
  onEvent(event: TrainEvent, config: Readonly<Record<string, unknown>>): void;
  onWarning?(message: string): void;
}

/**
 * Runs a stage with the options of a configuration file. The model is loaded from a path or created from a configuration. Under a launcher, the
 * stage trains with all ranks, and only rank 0 reports events and warnings.
 * @returns the result; undefined on every rank but the first
 * @throws HeddleError errors of the stage, with option names as the file spells them; ABORTED with the path of the saved checkpoint
 */
export async function trainStage(stage: LoadedStage, options: TrainStageOptions): Promise<TrainResult | undefined> {
  const { device, threads } = options;
  return inWorld({ device, threads }, async (place) => {
    const isFirst = (place.world?.rank ?? 0) === 0;
    const quiet = { onEvent: () => {}, onDraw: () => {}, onWarning: () => {} };
    return trainAt(stage, { ...options, ...(!isFirst && quiet) }, place);
  });
}

async function trainAt(stage: LoadedStage, options: TrainStageOptions, place: Place): Promise<TrainResult> {
  const overrides = Object.entries(options.overrides ?? {}).filter(([, value]) => value !== undefined);
  const { options: inFile, written } = await readTrainingConfig(options.config);
  for (const [name] of overrides) written.forget(name);
  const config = { ...inFile, ...Object.fromEntries(overrides) };
  try {
    return await runConfigured(stage, config, options, place);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    if (place.world && error.code === "ABORTED") stopWithOthers();
    if (error.code === "ABORTED" && (options.signal?.aborted || place.world))
      throw await stopped(error, config.outputDir);
    throw new HeddleError(error.code, written.inMessage(error.message), { cause: error });
  }
}

async function runConfigured(
  stage: LoadedStage,
  config: Record<string, unknown>,
  options: TrainStageOptions,
  { device, threads, world }: Place,
): Promise<TrainResult> {
  needKnownNames({ ...fileShape, ...stage.schema.shape }, config, stage.name);
  const { model: from, tokenizer: tokenizerPath, ...rest } = config;
  if (tokenizerPath !== undefined && typeof tokenizerPath !== "string")
    throw invalidArgument("tokenizer", "a folder", tokenizerPath);
  if (typeof from !== "string" && (typeof from !== "object" || from === null))
    throw invalidArgument("model", "the path of a checkpoint, or a configuration", from);
  if (rest.outputDir === undefined && options.resume)
    throw new HeddleError("INVALID_ARGUMENT", "outputDir: expected the folder to resume from, got none");
  if (!world || world.rank === 0) await needUsableSoon(rest, options.resume);
  const tokenizer = tokenizerPath === undefined ? undefined : await Tokenizer.load(tokenizerPath);
  const { signal, onWarning } = options;
  // A rank must not stop alone. After a signal, each rank therefore continues to load until all ranks agree to stop.
  const place = { device, threads, signal: world ? undefined : signal };
  const base =
    typeof from === "string"
      ? await loadedBase(from, tokenizer, place)
      : await newBase(from, tokenizer, {
          ...place,
          seed: typeof rest.seed === "number" ? rest.seed : 0,
          onProgress: options.onDraw,
        });
  const others = new NamedModels(place);
  try {
    const given = await others.resolve(rest);
    const together = stopTogether(world, signal);
    if (together.world) await stopIfAgreed(together.world, together.signal);
    const training = {
      ...given,
      ...(options.resume && { resume: "auto" }),
      signal,
      ...(onWarning && { onWarning }),
      ...(world && { world }),
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

/** Returns the error of a stopped run with advice on how to resume it. */
async function stopped(error: HeddleError, outputDir: unknown): Promise<HeddleError> {
  const latest = typeof outputDir === "string" ? await latestCheckpoint(outputDir).catch(() => undefined) : undefined;
  const why = outputDir === undefined ? "outputDir is not set" : "the first step was not complete";
  const next = latest ? `use --resume to continue from ${latest.path}` : `nothing was saved because ${why}`;
  return new HeddleError("ABORTED", `train: stopped ${howStopped()}; ${next}`, { cause: error });
}

async function loadedBase(
  path: string,
  tokenizer: Tokenizer | undefined,
  options: Omit<Place, "world"> & { signal: AbortSignal | undefined },
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
