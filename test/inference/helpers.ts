import { type CreateModelOptions, createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";

/** Text with some structure, from which a tokenizer of a few hundred tokens learns words. */
export const sentences = Array.from(
  { length: 200 },
  (_, i) =>
    `The ${["cat", "dog", "bird"][i % 3]} saw ${["a house", "the sea", "naïve café"][(i % 7) % 3]} and ran home. 日本 ${i}`,
);

let trained: Promise<Tokenizer> | undefined;
export function tinyTokenizer(): Promise<Tokenizer> {
  trained ??= Tokenizer.train(sentences, { vocabSize: 320 });
  return trained;
}

/** A small model whose random weights are wide enough to make its choices differ. */
export function tinyModel(options: CreateModelOptions = {}, config: object = {}): LanguageModel {
  return createModel(
    {
      modelType: "llama",
      hiddenSize: 32,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 128,
      initializerRange: 0.4,
      ...(options.tokenizer ? {} : { vocabSize: 320 }),
      ...config,
    },
    { seed: 7, ...options },
  );
}

/** Returns the failure's code and message. Throws if the work succeeds. */
export async function failureOf(work: () => unknown): Promise<{ code: string; message: string }> {
  try {
    const result = work();
    if (typeof result === "object" && result !== null && Symbol.asyncIterator in result)
      for await (const _ of result as AsyncIterable<unknown>);
    else await result;
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  }
  throw new Error("expected a failure, got none");
}
