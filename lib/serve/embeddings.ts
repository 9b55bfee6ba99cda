// POST /v1/embeddings
import { embeddingWidth } from "../formats/sentence-transformers/embedding-schema.ts";
import { embeddingOf, embeddings as embeddingsOf, namedLimit, textReader } from "../language-model/embed/embed.ts";
import { holding } from "../models/model-view.ts";
import { checkModel, type Exchange, sendAnswer } from "./context.ts";
import { invalid } from "./http-error.ts";
import { promptsOf } from "./prompts.ts";
import { embeddingSchema, parsed } from "./schema.ts";

/** Maximum number of inputs, as in OpenAI's API. */
const MOST_INPUTS = 2048;

export async function embeddings(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, settings, places } = service;
  const given = parsed(embeddingSchema, body);
  checkModel(given.model, service);
  const width = embeddingWidth(model.config);
  const { dimensions = width } = given;
  if (dimensions > width) throw invalid("dimensions", `at most ${width}, the model's`, dimensions);
  if (given.input === undefined) throw invalid("input", "a text, token ids, or an array of those", undefined);
  const release = places.take(1);
  signal.addEventListener("abort", release, { once: true });
  try {
    const { encoding } = service;
    const { truncation } = given;
    const limit = namedLimit(model);
    const how = { param: "input", model, most: MOST_INPUTS, goesOn: false, limit, truncation, encoding, signal };
    // Requests cannot name a prompt, so the model's default prompt applies, if it has one.
    const { read, promptLength } = textReader(model, { signal });
    const isText = (one: unknown) => typeof one === "string";
    const list: unknown[] = Array.isArray(given.input) ? given.input : [given.input];
    const texts = list.map((one) => (isText(one) ? read(one as string) : one));
    const ids = await promptsOf(Array.isArray(given.input) ? texts : texts[0], how).ids();
    // If `input` is a single list of ids, `list` contains the ids, which are not texts.
    const lengthOf = await promptLength();
    const promptLengths = ids.map((one, i) => (isText(list[i]) ? lengthOf(one) : 0));
    const bare = promptLengths.findIndex((length, i) => length > 0 && ids[i]!.length <= length);
    if (bare >= 0)
      throw invalid(
        Array.isArray(given.input) ? `input[${bare}]` : "input",
        `more tokens than the prompt's ${promptLengths[bare]}`,
        ids[bare]!.length,
      );
    const { contextLength } = limit;
    const embed = () =>
      holding(model.model, (held) => embeddingsOf(held, ids, { promptLengths, contextLength, signal }));
    const vectors = await service.embedding.run(embed, signal);
    signal.throwIfAborted();
    const { normalize } = embeddingOf(model.model);
    const tokens = ids.reduce((sum, { length }) => sum + length, 0);
    exchange.count({ promptTokens: tokens, completionTokens: 0 });
    await sendAnswer(exchange, {
      object: "list",
      data: vectors.map((vector, index) => {
        const short = dimensions === width ? vector : cut(vector, dimensions, normalize);
        return {
          object: "embedding",
          index,
          embedding: given.encoding_format === "base64" ? base64(short) : [...short],
        };
      }),
      model: settings.modelName,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  } finally {
    signal.removeEventListener("abort", release);
    release();
  }
}

/** Truncates a vector, and normalizes it if the model's vectors are normalized (Kusupati et al. 2022, "Matryoshka"). */
function cut(vector: Float32Array, dimensions: number, normalize: boolean): Float32Array {
  const short = vector.slice(0, dimensions);
  const length = Math.sqrt(short.reduce((sum, v) => sum + v * v, 0));
  return normalize && length > 0 ? short.map((v) => v / length) : short;
}

/** Encodes a vector as little-endian f32 in base64. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4);
  return bytes.toString("base64");
}
