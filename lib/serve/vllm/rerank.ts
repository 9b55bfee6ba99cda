// POST /v1/rerank and /rerank in Jina's form, /v2/rerank in Cohere's
import { randomUUID } from "node:crypto";
import { pairScores, ranked } from "../../language-model/embed/rerank.ts";
import { computing } from "../core/compute.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { parsed, rerankSchema } from "./schema.ts";

/** Jina's form: by default, the results contain the documents. The usage is in tokens. */
export const jinaRerank = (exchange: Exchange) =>
  rerank(exchange, true, ({ model, results, tokens }) => ({
    model,
    object: "list",
    usage: { prompt_tokens: tokens, total_tokens: tokens },
    results,
  }));

/** Cohere's form: by default, the results contain only indices and scores. */
export const cohereRerank = (exchange: Exchange) =>
  rerank(exchange, false, ({ results, tokens }) => ({
    results,
    meta: { api_version: { version: "2" }, billed_units: { search_units: 1 }, tokens: { input_tokens: tokens } },
  }));

interface Reranked {
  model: string;
  results: object[];
  tokens: number;
}

function rerank(exchange: Exchange, withDocuments: boolean, form: (of: Reranked) => object): Promise<void> {
  const given = parsed(rerankSchema, exchange.body);
  const { service, signal } = exchange;
  return service.models.use(given.model, signal, async ({ model, name, adapters }) => {
    const texts = given.documents.map((one) => (typeof one === "string" ? one : one.text));
    const { label, truncation = true, top_n: topN = texts.length, return_documents: returns = withDocuments } = given;
    const pairs = texts.map((textPair) => ({ text: given.query, textPair }));
    const options = { label, truncation, signal, adapters };
    const { scores, tokens } = await computing(exchange, () => pairScores(model, pairs, options));
    exchange.record({ model: name, promptTokens: tokens, completionTokens: 0 });
    const results = ranked(scores, topN).map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(returns && { document: { text: texts[index] } }),
    }));
    await sendAnswer(exchange, { id: `rerank-${randomUUID()}`, ...form({ model: name, results, tokens }) });
  });
}
