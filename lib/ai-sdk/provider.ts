// heddle's provider for the AI SDK, and functions that wrap single models.
import {
  type EmbeddingModelV3,
  type EmbeddingModelV4,
  type LanguageModelV3,
  type LanguageModelV4,
  NoSuchModelError,
  type ProviderV3,
  type ProviderV4,
  type RerankingModelV3,
  type RerankingModelV4,
} from "@ai-sdk/provider";
import { invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { checkString } from "../core/option-values.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { LanguageModel } from "../language-model/index.ts";
import { embeddingModelOf, rerankingModelOf } from "./embedding-models.ts";
import { languageModelOf } from "./language-model.ts";

/** The specification of the AI SDK that a model follows: `v4` for AI SDK 7, `v3` for AI SDK 6. */
export type SpecificationVersion = "v3" | "v4";

/** Settings of a single model. */
export interface ModelSettings<V extends SpecificationVersion = SpecificationVersion> {
  /**
   * Id of the model, for logs. Default: the first of these that exists: the name in its model card, the name it was loaded by, the
   * name of its file or folder, its model type.
   */
  modelId?: string | undefined;
  /** Default `v4`. */
  specificationVersion?: V | undefined;
}

/** Settings of `createHeddle`. */
export interface ProviderSettings<V extends SpecificationVersion = SpecificationVersion> {
  /** Loaded models, by the ids that programs use. The caller still owns them. */
  models: Readonly<Record<string, LanguageModel>>;
  /** Default `v4`. */
  specificationVersion?: V | undefined;
}

type Language<V> = V extends "v3" ? LanguageModelV3 : LanguageModelV4;
type Embedding<V> = V extends "v3" ? EmbeddingModelV3 : EmbeddingModelV4;
type Reranking<V> = V extends "v3" ? RerankingModelV3 : RerankingModelV4;

/** A provider, for registries and programs that name models by id. `provider(id)` is the same as `provider.languageModel(id)`. */
export type HeddleProvider<V extends SpecificationVersion = "v4"> = ((modelId: string) => Language<V>) &
  (V extends "v3" ? ProviderV3 : ProviderV4) & {
    /** Returns a reranking model. @throws NoSuchModelError */
    rerankingModel(modelId: string): Reranking<V>;
  };

/**
 * Returns a language model for `generateText`, `streamText` and the like. Concurrent calls are not batched: their forward passes
 * take turns.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function heddle<V extends SpecificationVersion = "v4">(
  model: LanguageModel,
  settings: ModelSettings<V> = {},
): Language<V> {
  return versioned(languageModelOf(checked(model), idOf(model, settings)), settings);
}

/** Returns an embedding model for `embed` and `embedMany`. @throws HeddleError INVALID_ARGUMENT */
export function heddleEmbedding<V extends SpecificationVersion = "v4">(
  model: LanguageModel,
  settings: ModelSettings<V> = {},
): Embedding<V> {
  return versioned(embeddingModelOf(checked(model), idOf(model, settings)), settings);
}

/** Returns a reranking model for `rerank`, from a cross-encoder or an embedding model. @throws HeddleError INVALID_ARGUMENT */
export function heddleReranker<V extends SpecificationVersion = "v4">(
  model: LanguageModel,
  settings: ModelSettings<V> = {},
): Reranking<V> {
  return versioned(rerankingModelOf(checked(model), idOf(model, settings)), settings);
}

/**
 * Creates a provider over loaded models.
 * @throws HeddleError INVALID_ARGUMENT. The provider throws NoSuchModelError for an unknown id
 * @example
 * const provider = createHeddle({ models: { small: await LanguageModel.load("default") } });
 * const { text } = await generateText({ model: provider("small"), prompt: "What is the capital of Japan?" });
 */
export function createHeddle<V extends SpecificationVersion = "v4">(settings: ProviderSettings<V>): HeddleProvider<V> {
  if (!isObject(settings) || !isObject(settings.models))
    throw invalidArgument("models", "an object of loaded models", isObject(settings) ? settings.models : settings);
  rejectUnknownNames(settings, ["models", "specificationVersion"]);
  const { models, specificationVersion } = settings;
  const all = new Map(Object.entries(models).map(([id, model]) => [id, checked(model)]));
  const find = (modelId: string, modelType: "languageModel" | "embeddingModel" | "rerankingModel") => {
    const model = all.get(modelId);
    if (model) return model;
    const message = `model: expected one of ${[...all.keys()].join(", ")}, got ${JSON.stringify(modelId)}`;
    throw new NoSuchModelError({ modelId, modelType, message });
  };
  const languageModel = (modelId: string) => heddle(find(modelId, "languageModel"), { modelId, specificationVersion });
  const provider = {
    languageModel,
    embeddingModel: (modelId: string) =>
      heddleEmbedding(find(modelId, "embeddingModel"), { modelId, specificationVersion }),
    rerankingModel: (modelId: string) =>
      heddleReranker(find(modelId, "rerankingModel"), { modelId, specificationVersion }),
    imageModel: (modelId: string): never => {
      throw new NoSuchModelError({ modelId, modelType: "imageModel" });
    },
  };
  return versioned(
    Object.assign((modelId: string) => languageModel(modelId), provider),
    settings,
  );
}

/**
 * Sets the specification version of a model or provider. Results have the same form in both versions. Files in prompts have different
 * forms, and prompt.ts reads both.
 */
function versioned<T>(
  model: object,
  { specificationVersion = "v4" as never }: { specificationVersion?: SpecificationVersion | undefined },
): T {
  if (specificationVersion !== "v3" && specificationVersion !== "v4")
    throw invalidArgument("specificationVersion", "v3 or v4", specificationVersion);
  return Object.assign(model, { specificationVersion }) as T;
}

function checked(model: unknown): LanguageModel {
  if (!(model instanceof LanguageModel)) throw invalidArgument("model", "a loaded LanguageModel", model);
  return model;
}

function idOf(model: LanguageModel, settings: ModelSettings): string {
  if (!isObject(settings)) throw invalidArgument("settings", "an object", settings);
  rejectUnknownNames(settings, ["modelId", "specificationVersion"]);
  const { modelId } = settings;
  checkString("modelId", modelId);
  const file = model.path?.split(/[\\/]/).filter(Boolean).at(-1);
  return modelId ?? model.card?.name ?? model.name ?? file ?? model.config.modelType;
}
