// POST /v1/embeddings
import { type Exchange, sendAnswer } from "../core/context.ts";
import { answerEmbeddings } from "../core/embeddings.ts";
import { embeddingSchema, parsed } from "./schema.ts";

/** Answers POST /v1/embeddings. */
export function embeddings(exchange: Exchange): Promise<void> {
  const { model, encoding_format: format, ...request } = parsed(embeddingSchema, exchange.body);
  return exchange.service.models.use(model, exchange.signal, async (served) => {
    const { input, dimensions, truncation } = request;
    const texts = { input, param: "input", dimensions, truncation };
    await answerEmbeddings(exchange, served, texts, ({ vectors, tokens }) =>
      sendAnswer(exchange, {
        object: "list",
        data: vectors.map((vector, index) => ({
          object: "embedding",
          index,
          embedding: format === "base64" ? base64(vector) : [...vector],
        })),
        model: served.name,
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      }),
    );
  });
}

/** Encodes a vector as little-endian f32 in base64. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4);
  return bytes.toString("base64");
}
