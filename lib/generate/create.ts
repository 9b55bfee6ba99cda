import { invalidArgument } from "../errors.ts";
import { type ModelConfigInput, parseModelConfig } from "../formats/config.ts";
import { type Device, openDevice } from "../graph/index.ts";
import { Model } from "../models/model.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { LanguageModel } from "./language-model.ts";
import { rejectUnknownNames } from "./option-names.ts";

export interface CreateModelOptions {
  tokenizer?: Tokenizer | undefined;
  /** Of the random weights: the same seed gives the same weights on every machine. */
  seed?: number | undefined;
  device?: string | Device | undefined;
  threads?: number | undefined;
}

/**
 * A model with random weights (f32), ready to be trained. They are drawn before it returns: 3 s for 100 million, the one thing here
 * that keeps the event loop.
 * @param config config.json's names in camelCase; vocabSize and the special ids follow from the tokenizer where left out
 * @throws HeddleError INVALID_ARGUMENT, UNSUPPORTED
 * @example
 * const base = createModel({ modelType: "llama", hiddenSize: 320, numHiddenLayers: 8 }, { tokenizer, seed: 1 });
 */
export function createModel(config: ModelConfigInput, options: CreateModelOptions = {}): LanguageModel {
  rejectUnknownNames(options, ["tokenizer", "seed", "device", "threads"]);
  const { tokenizer, seed = 0 } = options;
  if (tokenizer !== undefined && (typeof tokenizer?.encode !== "function" || !Array.isArray(tokenizer.eosTokenIds)))
    throw invalidArgument("tokenizer", "a Tokenizer", tokenizer);
  if (!Number.isSafeInteger(seed)) throw invalidArgument("seed", "a safe integer", seed);
  const parsed = parseModelConfig({ ...fromTokenizer(tokenizer), ...config });
  if (tokenizer && tokenizer.vocabSize > parsed.vocabSize)
    throw invalidArgument("vocabSize", `at least the tokenizer's ${tokenizer.vocabSize}`, parsed.vocabSize);
  return new LanguageModel({ model: Model.create(parsed, openDevice(options), seed), tokenizer });
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
