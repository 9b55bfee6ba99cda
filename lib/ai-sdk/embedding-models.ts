// Embedding and reranking models of the AI SDK.
import type { EmbeddingModelV4, RerankingModelV4 } from "@ai-sdk/provider";
import { embeddedIds } from "../language-model/embed/embed.ts";
import type { LanguageModel } from "../language-model/index.ts";

/** Returns an AI SDK embedding model for a loaded model. */
export function embeddingModelOf(model: LanguageModel, modelId: string): EmbeddingModelV4 {
  return {
    specificationVersion: "v4",
    provider: "heddle",
    modelId,
    maxEmbeddingsPerCall: undefined,
    supportsParallelCalls: true,
    async doEmbed({ values, dimensions, abortSignal }) {
      const vectors = await model.embed(values, { truncateDim: dimensions, signal: abortSignal });
      // `embed` reads the model's default prompt before each text.
      const { ids } = await embeddedIds(values, model, { signal: abortSignal });
      const tokens = ids.reduce((sum, { length }) => sum + length, 0);
      return { embeddings: vectors.map((vector) => [...vector]), usage: { tokens }, warnings: [] };
    },
  };
}

/** Returns an AI SDK reranking model for a cross-encoder or an embedding model. */
export function rerankingModelOf(model: LanguageModel, modelId: string): RerankingModelV4 {
  return {
    specificationVersion: "v4",
    provider: "heddle",
    modelId,
    async doRerank({ query, documents, topN, abortSignal }) {
      const texts =
        documents.type === "text" ? documents.values : documents.values.map((value) => JSON.stringify(value));
      const ranked = await model.rerank(query, texts, { topN, truncation: true, signal: abortSignal });
      return { ranking: ranked.map(({ index, score }) => ({ index, relevanceScore: score })) };
    },
  };
}
