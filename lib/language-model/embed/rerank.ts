// Scores how well documents answer a query, with a cross-encoder, or else by the similarity of embeddings.
import { firstOf } from "../../core/amounts.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import { checkWhole } from "../../core/option-values.ts";
import { sigmoid } from "../../metrics/temperature.ts";
import { isEncoder } from "../../models/family.ts";
import { holding } from "../../models/model-view.ts";
import type { LanguageModel } from "../language-model.ts";
import type { ReadTextOptions } from "../prompt.ts";
import { classificationOf, probabilitiesOf } from "./classify.ts";
import { logitsOfTexts } from "./classify-texts.ts";
import { embeddedIds, embeddingOf, embeddings, namedLimit } from "./embed.ts";
import type { TextPair } from "./text-pairs.ts";

/** Options of `model.rerank`. */
export interface RerankOptions extends ReadTextOptions {
  /** Number of documents to return. Default: all. */
  topN?: number | undefined;
  /** The label whose probability is the score. Needed if the classification head has several labels. */
  label?: string | undefined;
}

/** A document with its score. */
export interface RankedDocument {
  /** Position of the document in the given list. */
  index: number;
  /**
   * Relevance. A cross-encoder gives a probability: the sigmoid of a single logit, or the probability of the label.
   * Without a classification head, the score is the cosine similarity of the embeddings, from -1 to 1.
   */
  score: number;
  /** The document's text. */
  document: string;
}

/** Option names of `rerank`. */
export const RERANK_NAMES = ["topN", "label", "truncation", "signal"] as const;

/** Returns documents with the best first. Equal scores keep their order. @throws HeddleError as `pairScores`, INVALID_ARGUMENT */
export async function rerank(
  model: LanguageModel,
  query: string,
  documents: readonly string[],
  { topN = documents?.length, ...options }: RerankOptions,
): Promise<RankedDocument[]> {
  if (typeof query !== "string") throw invalidArgument("query", "a text", query);
  if (!Array.isArray(documents)) throw invalidArgument("documents", "an array of texts", documents);
  const wrong = documents.findIndex((document) => typeof document !== "string");
  if (wrong >= 0) throw invalidArgument(`documents[${wrong}]`, "a text", documents[wrong]);
  checkWhole("topN", topN, 0);
  const pairs = documents.map((document) => ({ text: query, textPair: document }));
  const { scores } = await pairScores(model, pairs, options);
  return ranked(scores, topN).map(({ index, score }) => ({ index, score, document: documents[index]! }));
}

/** Returns the best scores with their indices. Equal scores keep their order. */
export function ranked(scores: readonly number[], topN: number): { index: number; score: number }[] {
  return scores
    .map((score, index) => ({ index, score }))
    .sort((a, b) => b.score - a.score)
    .slice(0, topN);
}

/**
 * Scores pairs of a query and a document.
 * @returns the scores in the order of the pairs, and the total number of tokens
 * @throws HeddleError UNSUPPORTED for a model that neither classifies nor embeds, INVALID_ARGUMENT for a missing or unknown label,
 * CONTEXT_OVERFLOW, NUMERICAL, ABORTED
 */
export async function pairScores(
  model: LanguageModel,
  pairs: readonly TextPair[],
  options: Omit<RerankOptions, "topN"> & { adapters?: readonly string[] | undefined },
): Promise<{ scores: number[]; tokens: number }> {
  const { label, ...rest } = options;
  const { classifier } = model.config;
  if (classifier?.task !== "sequence") {
    if (label !== undefined)
      throw invalidArgument("label", "no value for a model without a classification head", label);
    return similarities(model, pairs, rest);
  }
  const at = labelIndex(classifier.labels, label);
  const { logits, tokens } = await logitsOfTexts(model, pairs, rest);
  const scores = logits.map((row) => {
    classificationOf(classifier, row); // throws for logits that are not finite
    return row.length === 1 ? sigmoid(row[0]! / (classifier.temperature ?? 1)) : probabilitiesOf(classifier, row)[at]!;
  });
  return { scores, tokens };
}

function labelIndex(labels: readonly string[], label: string | undefined): number {
  const at = label === undefined && labels.length === 1 ? 0 : labels.indexOf(label!);
  if (at >= 0) return at;
  const known = firstOf(labels, 20);
  const near = typeof label === "string" ? nearest(label, labels) : undefined;
  throw invalidArgument("label", `one of ${known}${near === undefined ? "" : ` (nearest: ${near})`}`, label);
}

/** Names that models use for the prompts of queries and of documents. */
const PROMPTS = { text: ["query"], textPair: ["document", "passage"] } as const;

/** Cosine similarities of embeddings. A text that occurs in several pairs is embedded once. */
async function similarities(
  model: LanguageModel,
  pairs: readonly TextPair[],
  { adapters, truncation, signal }: ReadTextOptions & { adapters?: readonly string[] | undefined },
): Promise<{ scores: number[]; tokens: number }> {
  if (!model.config.embedding && !isEncoder(model.model))
    throw new HeddleError(
      "UNSUPPORTED",
      `model: expected a sequence classification head or an embedding model, got a ${model.config.modelType} without either`,
    );
  const { prompts = {} } = embeddingOf(model.model);
  const { contextLength } = namedLimit(model);
  let tokens = 0;
  const vectorsOf = async (held: Parameters<typeof embeddings>[0], part: keyof TextPair) => {
    const texts = [...new Set(pairs.map((pair) => pair[part]))];
    const promptName = PROMPTS[part].find((name) => Object.hasOwn(prompts, name));
    const { ids, promptLengths } = await embeddedIds(texts, model, { promptName, truncation, signal });
    tokens += ids.reduce((sum, { length }) => sum + length, 0);
    const vectors = await embeddings(held, ids, { promptLengths, contextLength, signal });
    return new Map(texts.map((text, i) => [text, vectors[i]!]));
  };
  const scores = await holding(
    model.model,
    async (held) => {
      const queries = await vectorsOf(held, "text");
      const documents = await vectorsOf(held, "textPair");
      return pairs.map(({ text, textPair }) => cosine(queries.get(text)!, documents.get(textPair)!));
    },
    adapters,
  );
  return { scores, tokens };
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}
