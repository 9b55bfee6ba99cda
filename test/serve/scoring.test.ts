// Reranking, scores, classification and tokens over HTTP.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { ConcurrencyLimit } from "../../lib/serve/core/concurrency-limit.ts";
import { tinyTokenizer } from "../inference/helpers.ts";
import { chatModel, endlessModel, greedily, until, user, withServer } from "./helpers.ts";

const sizes = { hiddenSize: 24, intermediateSize: 32, numHiddenLayers: 2, numAttentionHeads: 4, initializerRange: 0.4 };
const documents = ["a bird ran home", "The cat saw the sea", "naïve café", "a house"];
const query = "the sea";

let cross: LanguageModel;
let topics: LanguageModel;
let chat: LanguageModel;
beforeAll(async () => {
  const tokenizer = await tinyTokenizer();
  const encoder = (labels: string[], problemType?: "regression") =>
    createModel(
      {
        modelType: "bert",
        ...sizes,
        maxPositionEmbeddings: 64,
        classifier: { task: "sequence", labels, pooling: "first", ...(problemType && { problemType }) },
      },
      { seed: 3, tokenizer },
    );
  cross = encoder(["LABEL_0"]);
  topics = encoder(["sea", "land", "sky"]);
  chat = await chatModel();
});
afterAll(() => Promise.all([cross, topics, chat].map((model) => model.dispose())));

const refusal = (code: string, message: RegExp) => ({ error: { code, message: expect.stringMatching(message) } });

describe("reranking", () => {
  test.each(["/v1/rerank", "/rerank"])("%s answers in Jina's form with the scores of model.rerank", (path) =>
    withServer(cross, {}, async ({ post }) => {
      const expected = await cross.rerank(query, documents, { topN: 3 });
      const { status, body } = await post(path, { model: "tiny", query, documents, top_n: 3 });
      expect([status, body]).toEqual([
        200,
        {
          id: expect.stringMatching(/^rerank-/),
          object: "list",
          model: "tiny",
          usage: { prompt_tokens: expect.any(Number), total_tokens: body.usage.prompt_tokens },
          results: expected.map(({ index, score, document }) => ({
            index,
            relevance_score: expect.closeTo(score, 5),
            document: { text: document },
          })),
        },
      ]);
      const bare = await post(path, { query, documents: documents.map((text) => ({ text })), return_documents: false });
      expect(bare.body.results).toHaveLength(4);
      expect(bare.body.results[0]).not.toHaveProperty("document");
    }),
  );

  test("/v2/rerank answers in Cohere's form", () =>
    withServer(cross, {}, async ({ post }) => {
      const { body } = await post("/v2/rerank", { model: "tiny", query, documents });
      expect(Object.keys(body).sort()).toEqual(["id", "meta", "results"]);
      expect(Object.keys(body.results[0])).toEqual(["index", "relevance_score"]);
      expect(body.meta).toMatchObject({ api_version: { version: "2" }, billed_units: { search_units: 1 } });
    }));

  test("truncates long documents, unless the request forbids it", () =>
    withServer(cross, {}, async ({ post }) => {
      const long = ["a house", "the sea ".repeat(200)];
      expect((await post("/v1/rerank", { query, documents: long })).status).toBe(200);
      expect(await post("/v1/rerank", { query, documents: long, truncation: false })).toMatchObject({
        status: 400,
        body: refusal(
          "context_length_exceeded",
          /^documents\[1\]: expected at most 64 tokens, the context length, got \d+$/,
        ),
      });
    }));

  test("rejects invalid requests, and names the parameter", () =>
    withServer(cross, {}, async ({ post }) => {
      for (const [body, message] of [
        [{ documents }, /^query: /],
        [{ query }, /^documents: /],
        [{ query, documents: [] }, /^documents: expected an array of 1 to 2048/],
        [{ query, documents: ["a", 1] }, /^documents: /],
        [{ query, documents: Array(2049).fill("a") }, /^documents: /],
        [{ query, documents, top_n: 0 }, /^top_n: /],
        [{ query, documents, label: "yes" }, /^label: expected one of LABEL_0/],
        [{ query, documents, max_tokens_per_doc: 9 }, /^max_tokens_per_doc: is not supported/],
        [{ query, documents, topn: 1 }, /^topn: .*nearest: top_n/],
      ] as const)
        expect([body, await post("/v1/rerank", body)]).toMatchObject([
          body,
          { status: 400, body: { error: { message: expect.stringMatching(message) } } },
        ]);
    }));

  test("needs a model that scores texts", () =>
    withServer(chat, {}, async ({ post }) => {
      expect(await post("/v1/rerank", { query, documents })).toMatchObject({
        status: 400,
        body: refusal("unsupported", /^model: expected a sequence classification head/),
      });
    }));
});

describe.each(["/v1/score", "/score"])("%s", (path) => {
  test("scores one text with several, or two lists in pairs", () =>
    withServer(topics, {}, async ({ post }) => {
      const scores = async (body: object) => {
        const answer = await post(path, { label: "sea", ...body });
        expect(answer).toMatchObject({ status: 200, body: { object: "list", model: "tiny" } });
        return answer.body.data.map(({ score }: { score: number }) => score);
      };
      const expected = await topics.classify(documents.map((textPair) => ({ text: query, textPair })));
      const values = expected.map(({ probabilities }) => expect.closeTo(probabilities.sea!, 5));
      expect(await scores({ text_1: query, text_2: documents })).toEqual(values);
      expect(await scores({ text_1: Array(4).fill(query), text_2: documents })).toEqual(values);
      expect(await scores({ text_1: query, text_2: documents[1] })).toEqual([values[1]]);
      expect(await post(path, { text_1: ["a", "b"], text_2: documents })).toMatchObject({
        status: 400,
        body: refusal("invalid_value", /^text_2: expected 2 texts/),
      });
      expect(await post(path, { text_1: "a", text_2: "b" })).toMatchObject({
        status: 400,
        body: refusal("invalid_value", /^label: expected one of sea, land, sky/),
      });
      expect(await post(path, { label: "sea", text_1: "a", text_2: "the sea ".repeat(200) })).toMatchObject({
        status: 400,
        body: refusal("context_length_exceeded", /^text_2: expected at most 64 tokens/),
      });
    }));
});

describe.each(["/v1/classify", "/classify"])("%s", (path) => {
  test("returns labels with probabilities for texts, token ids and pairs", () =>
    withServer(topics, {}, async ({ post }) => {
      const one = await post(path, { input: "the sea" });
      const expected = await topics.classify("the sea");
      expect(one.body).toMatchObject({ object: "list", model: "tiny" });
      expect(one.body.data).toEqual([
        {
          index: 0,
          label: expected.label,
          probs: ["sea", "land", "sky"].map((label) => expect.closeTo(expected.probabilities[label]!, 5)),
          num_classes: 3,
        },
      ]);
      const pair = { text: "the sea", text_pair: "a house" };
      const both = await topics.classify({ text: "the sea", textPair: "a house" });
      expect((await post(path, { input: [pair, pair] })).body.data[1]).toMatchObject({
        index: 1,
        probs: Object.values(both.probabilities).map((p) => expect.closeTo(p, 5)),
      });
      expect((await post(path, { input: [5, 6, 7] })).body.usage).toEqual({ prompt_tokens: 3, total_tokens: 3 });
      for (const input of [undefined, [], "", 5, [{}], ["a", 5]])
        expect([input, (await post(path, { input })).status]).toEqual([input, 400]);
      expect(await post(path, { input: [pair, "text"] })).toMatchObject({ status: 400 });
    }));

  test("needs a classification head", () =>
    withServer(chat, {}, async ({ post }) => {
      expect(await post(path, { input: "a" })).toMatchObject({ status: 400, body: refusal("unsupported", /^model: /) });
    }));
});

describe("tokens", () => {
  test("/tokenize and /detokenize are each other's inverse", () =>
    withServer(chat, {}, async ({ post }) => {
      const prompt = "The cat saw naïve café 日本";
      const { body } = await post("/tokenize", { prompt, return_token_strs: true, return_token_texts: true });
      const ids = [...chat.tokenizer!.encode(prompt)];
      expect(body).toEqual({
        count: ids.length,
        max_model_len: 1024,
        tokens: ids,
        token_strs: ids.map((id) => chat.tokenizer!.idToToken(id)),
        token_texts: expect.arrayContaining(["The", " cat"]),
      });
      expect(body.token_texts).toHaveLength(ids.length);
      const bare = (await post("/tokenize", { prompt, add_special_tokens: false })).body.tokens;
      expect((await post("/detokenize", { tokens: bare })).body).toEqual({ prompt });
      const long = "The cat saw the sea. ".repeat(2000);
      expect((await post("/tokenize", { prompt: long })).body.tokens).toEqual([...chat.tokenizer!.encode(long)]);
    }));

  test("/tokenize counts a conversation's tokens as a chat completion does", () =>
    withServer(chat, {}, async ({ post, chat: answer }) => {
      const messages = user("The cat");
      const { usage } = await answer({ messages, max_tokens: 1 });
      expect((await post("/tokenize", { messages })).body.count).toBe(usage.prompt_tokens);
      const usual = { add_generation_prompt: true, continue_final_message: false };
      expect((await post("/tokenize", { messages, ...usual })).body.count).toBe(usage.prompt_tokens);
    }));

  test("invalid requests are rejected, and errors name the parameter", async () => {
    await withServer(chat, {}, async ({ post }) => {
      for (const [path, body, message] of [
        ["/tokenize", {}, /^prompt: expected either a prompt or messages, got none/],
        ["/tokenize", { prompt: "a", messages: [] }, /^prompt: .*got both/],
        ["/tokenize", { prompt: "a", continue_final_message: true }, /^continue_final_message: is not supported/],
        ["/tokenize", { prompt: "a", add_generation_prompt: false }, /^add_generation_prompt: is not supported/],
        ["/detokenize", { tokens: [1, 1e9] }, /^tokens\[1\]: expected a token id below/],
        ["/detokenize", { tokens: "a" }, /^tokens: expected an array/],
        ["/detokenize", { tokens: Array(131_073).fill(1) }, /^tokens: expected at most 131072 token ids/],
      ] as const)
        expect([path, await post(path, body)]).toMatchObject([
          path,
          { status: 400, body: { error: { message: expect.stringMatching(message) } } },
        ]);
    });
    const bare = createModel({ modelType: "llama", ...sizes, vocabSize: 90 });
    await withServer(bare, {}, async ({ post }) => {
      for (const [path, body] of [
        ["/tokenize", { prompt: "a" }],
        ["/detokenize", { tokens: [1] }],
      ] as const)
        expect(await post(path, body)).toMatchObject({ status: 400, body: refusal("unsupported", /has no tokenizer/) });
    });
    await bare.dispose();
  });
});

test("reranking takes a place in the queue", () =>
  withServer(cross, { maxConcurrent: 1, maxQueue: 0 }, async ({ post, server }) => {
    const many = { query, documents: Array.from({ length: 200 }, (_, i) => `a house ${i}`) };
    const answers = await Promise.all([1, 2, 3, 4].map(() => post("/v1/rerank", many)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses).toContain(200);
    expect(statuses).toContain(429);
    expect(server.stats.answers).toBe(0);
  }));

test("tokenizing and counting tokens take a place in the queue", async () => {
  await using endless = await endlessModel({ maxPositionEmbeddings: 32_768 });
  await withServer(endless, { maxConcurrent: 1, maxQueue: 0 }, async ({ post, server }) => {
    const leaving = new AbortController();
    const long = { ...greedily, prompt: "The cat", max_tokens: 30_000 };
    const answer = post("/v1/completions", long, { signal: leaving.signal }).catch(() => undefined);
    await until(() => server.stats.running === 1, "an answer");
    const requests: [string, object][] = [
      ["/tokenize", { prompt: query }],
      ["/tokenize", { messages: user("a") }],
      ["/detokenize", { tokens: [1] }],
      ["/v1/responses/input_tokens", { input: "a" }],
      ["/v1/messages/count_tokens", { messages: user("a") }],
    ];
    for (const [path, body] of requests) expect([path, (await post(path, body)).status]).toEqual([path, 429]);
    leaving.abort();
    await answer;
    await until(() => server.stats.answers === 0, "the end of the answer");
    const take = vi.spyOn(ConcurrencyLimit.prototype, "take");
    for (const [path, body] of requests) expect([path, (await post(path, body)).status]).toEqual([path, 200]);
    expect(take).toHaveBeenCalledTimes(requests.length);
    take.mockRestore();
    expect(server.stats.answers).toBe(0);
  });
});
