// Pairs of texts with token types, and reranking over them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/graph/index.ts";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { Model } from "../../lib/models/model.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { failureOf, sentences, tinyModel } from "../inference/helpers.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  const trained = await Tokenizer.train(sentences, { vocabSize: 320, specialTokens: ["[CLS]", "[SEP]"] });
  const files = trained.files();
  const file = JSON.parse(files["tokenizer.json"]!);
  const id = (token: string) => file.added_tokens.find(({ content }: { content: string }) => content === token).id;
  file.post_processor = { type: "BertProcessing", cls: ["[CLS]", id("[CLS]")], sep: ["[SEP]", id("[SEP]")] };
  tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(file), tokenizerConfig: files["tokenizer_config.json"] });
});

const sizes = { hiddenSize: 24, intermediateSize: 32, numHiddenLayers: 2, numAttentionHeads: 4, initializerRange: 0.4 };
function encoder(labels: readonly string[], config: object = {}): LanguageModel {
  const classifier = { task: "sequence" as const, labels: [...labels], pooling: "first" as const };
  return createModel(
    { modelType: "bert", ...sizes, maxPositionEmbeddings: 64, classifier, ...config },
    { seed: 3, tokenizer },
  );
}

const pair = { text: "The cat saw the sea", textPair: "a bird ran home" };
const TYPES = "bert.embeddings.token_type_embeddings.weight";
const WORDS = "bert.embeddings.word_embeddings.weight";

describe("a pair of texts", () => {
  test("adds the embedding of the second token type to the words of the second text", async () => {
    await using model = encoder(["entailment", "neutral", "contradiction"]);
    const { vocabSize, hiddenSize } = model.config;
    const types = await model.model.weight(TYPES).toFloat32();
    const words = await model.model.weight(WORDS).toFloat32();
    // A second copy of the vocabulary. The embeddings of its words include the second type instead of the first.
    const both = new Float32Array(2 * words.length);
    both.set(words);
    words.forEach((value, i) => {
      const column = i % hiddenSize;
      both[words.length + i] = value + types[hiddenSize + column]! - types[column]!;
    });
    const { device } = model.model;
    const tensors = new Map(model.model.tensors);
    tensors.set(WORDS, await Tensor.fromOwn(device, "f32", [2 * vocabSize, hiddenSize], both));
    const twice = await Model.fromWeights({ ...model.config, vocabSize: 2 * vocabSize }, device, tensors);
    const { LanguageModel } = await import("../../lib/language-model/index.ts");
    const other = new LanguageModel({ model: twice });
    const { ids, typeIds } = tokenizer.encodePair(pair.text, pair.textPair);
    expect(new Set(typeIds)).toEqual(new Set([0, 1]));
    const expected = await other.classify(ids.map((id, i) => id + typeIds[i]! * vocabSize));
    const got = await model.classify(pair);
    for (const [label, p] of Object.entries(expected.probabilities)) expect(got.probabilities[label]).toBeCloseTo(p, 5);
    // The types matter to this model.
    const untyped = await model.classify(ids);
    expect(Math.abs(untyped.probabilities.neutral! - got.probabilities.neutral!)).toBeGreaterThan(1e-3);
  });

  test("has the same result alone and among others of other lengths", async () => {
    await using model = encoder(["no", "yes"]);
    const pairs = [pair, { text: "a", textPair: "b" }, { text: pair.textPair, textPair: pair.text }];
    const together = await model.classify(pairs);
    const alone = await Promise.all(pairs.map((one) => model.classify(one)));
    for (const [i, { probabilities }] of together.entries())
      expect(probabilities.yes).toBeCloseTo(alone[i]!.probabilities.yes!, 5);
    expect(together[0]!.probabilities.yes).not.toBeCloseTo(together[2]!.probabilities.yes!, 5);
  });

  test("is truncated with the option truncation if it is too long, and rejected without it", async () => {
    await using model = encoder(["no", "yes"]);
    const long = { text: pair.text, textPair: "the sea ".repeat(80) };
    expect(await failureOf(() => model.classify([pair, long]))).toMatchObject({
      code: "CONTEXT_OVERFLOW",
      message: expect.stringMatching(/^text\[1\]: expected at most 64 tokens/),
    });
    const [cut] = await tokenizer.encodeInputs([[long.text, long.textPair]], {
      truncation: { maxLength: 64 },
      padding: false,
    });
    expect(cut!.ids).toHaveLength(64);
    expect(await model.classify(long, { truncation: true })).toEqual(
      await model.classify({
        text: long.text,
        textPair: tokenizer.decode([...cut!.ids.slice(cut!.typeIds.indexOf(1), -1)]),
      }),
    );
  });

  test("works with a model that has a single token type", async () => {
    await using model = encoder(["no", "yes"], { typeVocabSize: 1 });
    const { ids } = tokenizer.encodePair(pair.text, pair.textPair);
    expect(await model.classify(pair)).toEqual(await model.classify(ids));
  });

  test("works with a decoder, which reads the texts one after another", async () => {
    const classifier = { task: "sequence" as const, labels: ["no", "yes"] };
    await using model = tinyModel({ tokenizer }, { classifier });
    const { ids } = tokenizer.encodePair(pair.text, pair.textPair);
    const got = await model.classify(pair);
    expect(got.probabilities.yes).toBeCloseTo((await model.classify(ids)).probabilities.yes!, 6);
  });

  test("cannot be mixed with texts, and needs a tokenizer", async () => {
    await using model = encoder(["no", "yes"]);
    expect(await failureOf(() => model.classify([pair, "text"]))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^text\[1\]: expected a pair/),
    });
    model.tokenizer = undefined;
    expect(await failureOf(() => model.classify(pair))).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("rerank", () => {
  const documents = ["a bird ran home", "The cat saw the sea", "naïve café", "a house"];
  let cross: LanguageModel;
  beforeAll(() => {
    cross = encoder(["LABEL_0"]);
  });
  afterAll(() => cross.dispose());

  test("sorts documents by the sigmoid of a cross-encoder's logit", async () => {
    const all = await cross.rerank("the sea", documents);
    expect(all.map(({ score }) => score)).toEqual(all.map(({ score }) => score).sort((a, b) => b - a));
    expect(new Set(all.map(({ index }) => index)).size).toBe(4);
    for (const { index, score, document } of all) {
      expect(document).toBe(documents[index]);
      await using regression = encoder(["LABEL_0"], {
        classifier: { task: "sequence", labels: ["LABEL_0"], pooling: "first", problemType: "regression" },
      });
      const { value } = await regression.classify({ text: "the sea", textPair: document });
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-value!)), 5);
    }
    expect(await cross.rerank("the sea", documents, { topN: 2 })).toEqual(all.slice(0, 2));
    expect(await cross.rerank("the sea", [])).toEqual([]);
  });

  test("scores by the probability of `label` if the head has several labels", async () => {
    await using model = encoder(["no", "yes"]);
    const all = await model.rerank("the sea", documents, { label: "yes" });
    for (const { score, document } of all)
      expect(score).toBeCloseTo((await model.classify({ text: "the sea", textPair: document })).probabilities.yes!, 5);
    for (const options of [{}, { label: "yse" }])
      expect(await failureOf(() => model.rerank("the sea", documents, options))).toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/^label: expected one of no, yes/),
      });
  });

  test("compares embeddings if the model has no classification head", async () => {
    const prompts = { query: "The ", document: "a " };
    const embedding = { pooling: "mean" as const, normalize: false, prompts };
    await using model = createModel(
      { modelType: "bert", ...sizes, maxPositionEmbeddings: 64, embedding },
      { seed: 3, tokenizer },
    );
    const all = await model.rerank("sea", documents);
    const query = await model.embed("sea", { promptName: "query", normalize: true });
    for (const { score, document } of all) {
      const vector = await model.embed(document, { promptName: "document", normalize: true });
      expect(score).toBeCloseTo(
        query.reduce((sum, v, i) => sum + v * vector[i]!, 0),
        5,
      );
    }
    expect(await failureOf(() => model.rerank("sea", documents, { label: "yes" }))).toMatchObject({
      message: expect.stringMatching(/^label: expected no value/),
    });
  });

  test.each<[unknown[], RegExp]>([
    [[1, ["a"]], /^query: /],
    [["a", "b"], /^documents: /],
    [["a", ["b", 1]], /^documents\[1\]: /],
    [["a", ["b"], { topN: -1 }], /^topN: /],
    [["a", ["b"], { top: 1 }], /^top: /],
  ])("rejects %j", async (args, message) => {
    const failure = await failureOf(() => (cross.rerank as (...all: unknown[]) => unknown).apply(cross, args));
    expect(failure.code).toBe("INVALID_ARGUMENT");
    expect(failure.message).toMatch(message);
  });

  test("refuses a model that neither classifies nor embeds", async () => {
    await using model = tinyModel({ tokenizer });
    expect(await failureOf(() => model.rerank("a", ["b"]))).toMatchObject({ code: "UNSUPPORTED" });
  });
});
