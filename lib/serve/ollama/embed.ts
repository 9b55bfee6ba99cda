// POST /api/embed and the older /api/embeddings
import { type Exchange, sendAnswer } from "../core/context.ts";
import { answerEmbeddings } from "../core/embeddings.ts";
import { modelName } from "./request.ts";
import { embeddingsSchema, embedSchema, parsed, parsedOptions } from "./schema.ts";
import { Times } from "./send.ts";

/** Answers POST /api/embed. */
export function embed(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, input, dimensions, truncate = true, options } = parsed(embedSchema, body);
  parsedOptions(options);
  const times = new Times();
  return service.models.use(modelName(service.models, model), signal, async (served) => {
    times.load();
    const request = { input, param: "input", dimensions, truncation: truncate };
    await answerEmbeddings(exchange, served, request, ({ vectors, tokens }) =>
      sendAnswer(exchange, {
        model: model ?? served.name,
        embeddings: vectors.map((vector) => [...vector]),
        ...times.durations,
        prompt_eval_count: tokens,
      }),
    );
  });
}

/** Answers POST /api/embeddings, the older form for a single text. */
export function embeddings(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, prompt, options } = parsed(embeddingsSchema, body);
  parsedOptions(options);
  return service.models.use(modelName(service.models, model), signal, async (served) => {
    const request = { input: prompt, param: "prompt", truncation: true };
    await answerEmbeddings(exchange, served, request, ({ vectors }) =>
      sendAnswer(exchange, { embedding: [...vectors[0]!] }),
    );
  });
}
