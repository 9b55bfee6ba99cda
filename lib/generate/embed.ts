import { HeddleError, invalidArgument } from "../errors.ts";
import type { EmbeddingConfig } from "../formats/config.ts";
import type { ModelView } from "../models/model-view.ts";
import { pooledOutputs } from "./pooled.ts";
import type { ReadTextOptions } from "./prompt.ts";

export interface EmbedTextOptions extends Partial<EmbeddingConfig>, ReadTextOptions {}

/** How a model that was not trained to embed makes a vector: its hidden states' mean, of length 1. */
const UNTRAINED: EmbeddingConfig = { pooling: "mean", normalize: true };

const POOLINGS: readonly EmbeddingConfig["pooling"][] = ["mean", "last", "first"];

/** How the model's texts become vectors. */
export function embeddingOf(model: ModelView): EmbeddingConfig {
  return model.config.embedding ?? UNTRAINED;
}

/** One vector (hidden size) a sequence. @throws HeddleError CONTEXT_OVERFLOW, NUMERICAL */
export async function embeddings(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: { contextLength: number; signal?: AbortSignal | undefined; embedding?: Partial<EmbeddingConfig> },
): Promise<Float32Array[]> {
  const { embedding = {}, ...rest } = options;
  const own = embeddingOf(model);
  const pooling = embedding.pooling ?? own.pooling;
  const normalize = embedding.normalize ?? own.normalize;
  if (!POOLINGS.includes(pooling)) {
    const expected = (pooling as string) === "cls" ? "first, which is what others call cls" : "mean, last or first";
    throw invalidArgument("pooling", expected, pooling);
  }
  if (typeof normalize !== "boolean") throw invalidArgument("normalize", "true or false", normalize);
  const vectors = await pooledOutputs(model, sequences, { ...rest, pooling });
  for (const vector of vectors) {
    const length = Math.sqrt(vector.reduce((sum, v) => sum + v * v, 0));
    if (!Number.isFinite(length))
      throw new HeddleError(
        "NUMERICAL",
        "embed: expected finite hidden states, got others (the weights may be broken)",
      );
    if (normalize && length > 0) for (let i = 0; i < vector.length; i++) vector[i]! /= length;
  }
  return vectors;
}
