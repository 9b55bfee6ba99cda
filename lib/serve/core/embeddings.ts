// Embeds the texts of a request. Every dialect sends the vectors in its own form.
import { embeddingWidth } from "../../formats/sentence-transformers/embedding-schema.ts";
import { embeddingOf, embeddings, namedLimit, textReader } from "../../language-model/embed/embed.ts";
import { holding } from "../../models/model-view.ts";
import { invalid } from "../http/http-error.ts";
import { holdingPlace } from "./compute.ts";
import type { Exchange } from "./context.ts";
import type { Served } from "./models.ts";
import { promptsOf } from "./prompts.ts";

/** Maximum number of inputs, as in OpenAI's API. */
const MAX_INPUTS = 2048;

/** A request for vectors. */
interface EmbeddingRequest {
  /** A text, a list of token ids, or an array of those. */
  input: unknown;
  /** Name of the input's parameter, for messages. */
  param: string;
  /** Number of dimensions that vectors are cut to. Default: the model's. */
  dimensions?: number | undefined;
  /** Whether inputs beyond the model's limit are cut. Default: they are refused. */
  truncation?: boolean | undefined;
}

/** Vectors, one for each input, and the number of tokens that were read. */
interface Embedded {
  vectors: Float32Array[];
  tokens: number;
}

/**
 * Embeds the inputs of a request. The request counts towards the limit on running and waiting answers until the vectors
 * are sent.
 * @throws Refusal, HeddleError before anything is sent; ClientLost; as `send`
 */
export async function answerEmbeddings(
  exchange: Exchange,
  { model, name, adapters }: Served,
  request: EmbeddingRequest,
  send: (embedded: Embedded) => Promise<void>,
): Promise<void> {
  const { service, signal } = exchange;
  const { encoding } = service;
  const { input, param, truncation } = request;
  const width = embeddingWidth(model.config);
  const { dimensions = width } = request;
  if (dimensions > width) throw invalid("dimensions", `at most ${width}, the width of the model's vectors`, dimensions);
  if (input === undefined) throw invalid(param, "a text, token ids, or an array of those", undefined);
  await holdingPlace(exchange, async () => {
    const limit = namedLimit(model);
    const how = { param, model, maxPrompts: MAX_INPUTS, isContinued: false, limit, truncation, encoding, signal };
    // Requests cannot name a prompt, so the model's default prompt applies, if it has one.
    const { read, promptLength } = textReader(model, { signal });
    const isText = (one: unknown) => typeof one === "string";
    const list: unknown[] = Array.isArray(input) ? input : [input];
    const texts = list.map((one) => (isText(one) ? read(one as string) : one));
    const ids = await promptsOf(Array.isArray(input) ? texts : texts[0], how).ids();
    // If the input is a single list of ids, `list` contains the ids, which are not texts.
    const lengthOf = await promptLength();
    const promptLengths = ids.map((one, i) => (isText(list[i]) ? lengthOf(one) : 0));
    // Pooling leaves out the tokens of the prompt, so a text needs at least one more.
    const bare = promptLengths.findIndex((length, i) => length > 0 && ids[i]!.length <= length);
    if (bare >= 0)
      throw invalid(
        Array.isArray(input) ? `${param}[${bare}]` : param,
        `more tokens than the prompt's ${promptLengths[bare]}`,
        ids[bare]!.length,
      );
    const { contextLength } = limit;
    const computed = () =>
      holding(model.model, (held) => embeddings(held, ids, { promptLengths, contextLength, signal }), adapters);
    const vectors = await service.embedding.run(computed, signal);
    signal.throwIfAborted();
    const { normalize } = embeddingOf(model.model);
    const tokens = ids.reduce((sum, { length }) => sum + length, 0);
    exchange.record({ model: name, promptTokens: tokens, completionTokens: 0 });
    const short = (vector: Float32Array) => (dimensions === width ? vector : cut(vector, dimensions, normalize));
    await send({ vectors: vectors.map(short), tokens });
  });
}

/** Truncates a vector, and normalizes it if the model's vectors are normalized (Kusupati et al. 2022, "Matryoshka"). */
function cut(vector: Float32Array, dimensions: number, normalize: boolean): Float32Array {
  const short = vector.slice(0, dimensions);
  const length = Math.sqrt(short.reduce((sum, v) => sum + v * v, 0));
  return normalize && length > 0 ? short.map((v) => v / length) : short;
}
