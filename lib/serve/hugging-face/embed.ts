// POST /embed and /models/{model}/pipeline/feature-extraction
import { z } from "zod";
import { flag, whole } from "../../core/schema-parts.ts";
import { embeddingOf } from "../../language-model/embed/embed.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { answerEmbeddings } from "../core/embeddings.ts";
import { parameters } from "../core/parameters.ts";
import { unsupported } from "../http/http-error.ts";

const schema = z.looseObject({
  inputs: z.unknown().optional(),
  normalize: flag().optional(),
  truncate: flag().optional(),
  dimensions: whole(1, 2 ** 31 - 1).optional(),
});

const OTHERS = {
  ignored: new Set(["options"]),
  // Texts that are too long are cut at their end.
  accepted: { truncation_direction: "right" },
  unsupported: {
    prompt_name: "is not supported: the model's default prompt applies",
    truncation_direction: "is not supported: texts are cut at their end",
    parameters: "is not supported: pass its fields next to inputs",
  },
};

/**
 * Answers with a list of vectors, even for a single text. Vectors have length 1 unless `normalize` is false, as in
 * text-embeddings-inference.
 */
export function embed(exchange: Exchange): Promise<void> {
  return answer(exchange, { defaultNormalize: true, form: (vectors) => vectors });
}

/**
 * Answers as `embed` does, but does not scale the vectors by default, and returns the vector itself for a single text.
 */
export function featureExtraction(exchange: Exchange): Promise<void> {
  const isText = typeof exchange.body.inputs === "string";
  return answer(exchange, { model: exchange.parameter, form: (vectors) => (isText ? vectors[0]! : vectors) });
}

interface Answering {
  model?: string | undefined;
  /** Default of the parameter `normalize`. Undefined: vectors keep the length that the model gives them. */
  defaultNormalize?: boolean | undefined;
  form: (vectors: number[][]) => unknown;
}

function answer(exchange: Exchange, { model, defaultNormalize, form }: Answering): Promise<void> {
  const {
    inputs: input,
    truncate,
    normalize = defaultNormalize,
    dimensions,
  } = parameters(schema, exchange.body, OTHERS);
  return exchange.service.models.use(model, exchange.signal, async (served) => {
    const isNormalized = embeddingOf(served.model.model).normalize;
    if (normalize === false && isNormalized)
      throw unsupported("normalize", "false is not supported: the model's vectors have length 1");
    const request = { input, param: "inputs", truncation: truncate, dimensions };
    await answerEmbeddings(exchange, served, request, ({ vectors }) => {
      const scaled = normalize && !isNormalized ? vectors.map(ofLength1) : vectors;
      return sendAnswer(exchange, form(scaled.map((vector) => [...vector])));
    });
  });
}

function ofLength1(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length > 0 ? vector.map((value) => value / length) : vector;
}
