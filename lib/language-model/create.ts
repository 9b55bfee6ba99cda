import { checkSeed, invalidArgument } from "../core/errors.ts";
import { checkFunction } from "../core/option-values.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { type ModelConfigInput, newModelConfig } from "../formats/config/config.ts";
import { type Device, openDevice } from "../graph/index.ts";
import type { DrawOptions } from "../models/initialize.ts";
import { Model } from "../models/model.ts";
import type { ModelType } from "../models/registry.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { LanguageModel } from "./language-model.ts";

/** Options of `createModel`. */
export interface CreateModelOptions {
  /** The tokenizer, for calls with texts. Default: none; such calls then need token ids. */
  tokenizer?: Tokenizer | undefined;
  /** Seed of the random weights, an integer from 0 to 2^53 - 1. The same seed gives the same weights on every machine. Default: 0. */
  seed?: number | undefined;
  /** The device, or its name: `cpu`, `cuda`, `cuda:1`, … Default: as in `openDevice`. */
  device?: string | Device | undefined;
  /** Number of worker threads on the CPU. Default: as in `openDevice`. */
  threads?: number | undefined;
}

/** Options of `createModelAsync`. */
export interface CreateModelAsyncOptions extends CreateModelOptions, DrawOptions {}

/**
 * Creates a model with random f32 weights for training. Drawing them blocks the event loop, for seconds if the model is
 * large. `createModelAsync` does not block it.
 * @param config the fields of config.json in camelCase, or the content of a config.json. Missing sizes follow from the others. A missing
 * vocabSize and missing ids of special tokens come from the tokenizer.
 * @throws HeddleError INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY if the weights do not fit
 * @example
 * const base = createModel({ modelType: "llama", hiddenSize: 320, numHiddenLayers: 8 }, { tokenizer, seed: 1 });
 */
export function createModel(
  config: ModelConfigInput & { modelType: ModelType },
  options: CreateModelOptions = {},
): LanguageModel {
  rejectUnknownNames(options, OPTIONS);
  const { tokenizer, seed, parsed } = checked(config, options);
  return new LanguageModel({ model: Model.create(parsed, openDevice(options), seed), tokenizer });
}

/**
 * Like `createModel`, with the same weights to the bit, but without blocking the event loop. Use it for large models,
 * and in servers.
 * @param options.onProgress called with the number of initialized parameters and the total
 * @throws HeddleError as `createModel`; ABORTED
 * @example
 * const base = await createModelAsync({ modelType: "llama", hiddenSize: 2048, numHiddenLayers: 16 }, { tokenizer, signal });
 */
export async function createModelAsync(
  config: ModelConfigInput & { modelType: ModelType },
  options: CreateModelAsyncOptions = {},
): Promise<LanguageModel> {
  rejectUnknownNames(options, [...OPTIONS, "signal", "onProgress"]);
  const { tokenizer, seed, parsed } = checked(config, options);
  const { onProgress } = options;
  checkFunction("onProgress", onProgress);
  return new LanguageModel({ model: await Model.initialize(parsed, openDevice(options), seed, options), tokenizer });
}

const OPTIONS = ["tokenizer", "seed", "device", "threads"];

function checked(config: ModelConfigInput, { tokenizer, seed = 0 }: CreateModelOptions) {
  if (tokenizer !== undefined && (typeof tokenizer?.encode !== "function" || !Array.isArray(tokenizer.eosTokenIds)))
    throw invalidArgument("tokenizer", "a Tokenizer", tokenizer);
  checkSeed(seed);
  const parsed = newModelConfig(config, fromTokenizer(tokenizer));
  if (tokenizer && tokenizer.vocabSize > parsed.vocabSize)
    throw invalidArgument("vocabSize", `at least the tokenizer's ${tokenizer.vocabSize}`, parsed.vocabSize);
  return { tokenizer, seed, parsed };
}

function fromTokenizer(tokenizer: Tokenizer | undefined) {
  if (!tokenizer) return {};
  return {
    vocabSize: tokenizer.vocabSize,
    bosTokenId: tokenizer.bosTokenId ?? null,
    eosTokenIds: [...tokenizer.eosTokenIds],
    padTokenId: tokenizer.padTokenId ?? null,
  };
}
