import { HeddleError, invalidArgument } from "../errors.ts";
import type { ModelConfigInput } from "../formats/config.ts";
import { createModel } from "../generate/create.ts";
import { LanguageModel } from "../generate/language-model.ts";
import { Tokenizer } from "../tokenizer/index.ts";
import { readTrainingConfig } from "../train/config-file.ts";
import type { Run } from "../train/run.ts";
import type { TrainEvent, TrainResult } from "../train/trainer.ts";
import { NamedModels } from "./named-models.ts";

/** A stage's exported function; it checks the options that a file gave. */
export type StageFunction = (base: LanguageModel, options: never) => Run<TrainEvent, TrainResult>;

export interface TrainStageOptions {
  /** The configuration file. */
  config: string;
  /** Continue from the newest checkpoint in outputDir where there is one. */
  resume?: boolean | undefined;
  /** Options that replace those of the file, where they are given. */
  instead?: Readonly<Record<string, unknown>> | undefined;
  device?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  onEvent(event: TrainEvent): void;
  onWarning?(message: string): void;
}

/** Runs a stage over a model from a path or a configuration, as the file says. */
export async function trainStage(stage: StageFunction, options: TrainStageOptions): Promise<TrainResult> {
  const instead = Object.entries(options.instead ?? {}).filter(([, value]) => value !== undefined);
  const config = { ...(await readTrainingConfig(options.config)), ...Object.fromEntries(instead) };
  const { model: from, tokenizer: tokenizerPath, ...rest } = config;
  if (tokenizerPath !== undefined && typeof tokenizerPath !== "string")
    throw invalidArgument("tokenizer", "a folder", tokenizerPath);
  const tokenizer = tokenizerPath === undefined ? undefined : await Tokenizer.load(tokenizerPath);
  const place = { device: options.device, threads: options.threads };
  const base = await baseOf(from, tokenizer, rest.seed, place);
  const others = new NamedModels(place);
  try {
    const { signal, onWarning } = options;
    const given = await others.resolve(rest);
    const training = { ...given, ...(options.resume && { resume: "auto" }), signal, ...(onWarning && { onWarning }) };
    const run = stage(base, training as never);
    for await (const event of run) options.onEvent(event);
    return await run;
  } finally {
    await others.dispose();
    await base.dispose();
  }
}

async function baseOf(
  from: unknown,
  tokenizer: Tokenizer | undefined,
  seed: unknown,
  place: { device?: string; threads?: number },
) {
  if (typeof from === "string") {
    const model = await LanguageModel.load(from, place);
    if (tokenizer) model.tokenizer = tokenizer;
    return model;
  }
  if (typeof from !== "object" || from === null)
    throw invalidArgument("model", "the path of a checkpoint, or a configuration", from);
  if (!tokenizer)
    throw new HeddleError("INVALID_ARGUMENT", "tokenizer: expected the folder of one for a new model, got none");
  return createModel(from as ModelConfigInput, { tokenizer, seed: typeof seed === "number" ? seed : 0, ...place });
}
