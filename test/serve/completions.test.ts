// The completions, embeddings, health and models endpoints.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { serve } from "../../lib/serve/index.ts";
import { tinyModel } from "../inference/helpers.ts";
import { type Client, chatModel, clientOf, greedily, greedy, type Json } from "./helpers.ts";

const COMPLETIONS = "/v1/completions";
const EMBEDDINGS = "/v1/embeddings";

let model: LanguageModel;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  client = clientOf(await serve(model, { port: 0, modelName: "a/tiny" }));
});
afterAll(async () => {
  await client.server.close();
  await model.dispose();
});

async function complete(body: object): Promise<Json> {
  const { status, body: answer } = await client.post(COMPLETIONS, body);
  expect({ status, answer }).toMatchObject({ status: 200 });
  return answer;
}

describe("completions", () => {
  test("accept a text, ids or several prompts, also when streaming", async () => {
    const texts = ["The cat saw", "日本"];
    const ids = texts.map((text) => [...model.tokenizer!.encode(text)]);
    const expected = (await model.completeAll(texts, greedy)).map(({ text }) => text);
    for (const prompt of [texts, ids]) {
      const answer = await complete({ prompt, ...greedily });
      expect(answer).toMatchObject({ object: "text_completion", model: "a/tiny", id: expect.stringMatching(/^cmpl-/) });
      expect(answer.choices.map((c: Json) => [c.index, c.text, c.finish_reason, c.logprobs])).toEqual(
        expected.map((text, i) => [i, text, "length", null]),
      );
      expect(answer.usage.prompt_tokens).toBe(ids[0]!.length + ids[1]!.length);
    }
    for (const prompt of [texts[0], ids[0]]) {
      expect((await complete({ prompt, ...greedily })).choices[0].text).toBe(expected[0]);
      const events = await client.events(COMPLETIONS, { prompt, ...greedily });
      expect(events.map((event) => event.choices[0].text).join("")).toBe(expected[0]);
      expect(events.at(-1).choices[0].finish_reason).toBe("length");
    }
    expect((await complete({ prompt: "The", temperature: 0, ignore_eos: true })).usage.completion_tokens).toBe(16);
  });

  test("return n answers per prompt", async () => {
    const answer = await complete({ prompt: ["a", "b"], n: 2, best_of: 2, seed: 1, temperature: 1, max_tokens: 12 });
    const alone = await model.completeAll(["a", "b"], { n: 2, seed: 1, temperature: 1, maxTokens: 12 });
    expect(answer.choices.map((c: Json) => c.text)).toEqual(alone.map(({ text }) => text));
  });

  test("sample equal prompts independently without a seed", async () => {
    const answer = await complete({ prompt: Array(5).fill("a"), temperature: 1, ignore_eos: true, max_tokens: 20 });
    expect(new Set(answer.choices.map((c: Json) => c.text)).size).toBe(5);
  });

  test("echo the prompt, also with max_tokens 0", async () => {
    const { text } = await model.complete("The cat saw", greedy);
    const body = { prompt: "The cat saw", echo: true, ...greedily };
    expect((await complete(body)).choices[0].text).toBe(`The cat saw${text}`);
    const events = await client.events(COMPLETIONS, body);
    expect(events.map((event) => event.choices[0].text).join("")).toBe(`The cat saw${text}`);
    expect((await complete({ ...body, max_tokens: 0 })).choices[0]).toMatchObject({
      text: "The cat saw",
      finish_reason: "length",
    });
  });

  test("return log-probabilities of the prompt's tokens with echo", async () => {
    const prompt = "The cat saw";
    const ids = [...model.tokenizer!.encode(prompt)];
    for (const max_tokens of [0, 3]) {
      const asked = { ...greedy, maxTokens: max_tokens, topLogprobs: 2, promptLogprobs: 2 };
      const expected = await model.complete(prompt, asked);
      const all = [...ids, ...expected.tokens].map((id) => model.tokenizer!.decode([id]));
      const body = { prompt: [prompt, "日本"], echo: true, logprobs: 2, ...greedily, max_tokens };
      const { choices } = await complete(body);
      const { text, logprobs } = choices[0];
      expect(text).toBe(prompt + expected.text);
      expect(logprobs.tokens).toEqual(all);
      expect(logprobs.token_logprobs).toEqual(
        [...expected.promptLogprobs!, ...expected.logprobs].map((v) => (v === null ? null : expect.closeTo(v, 4))),
      );
      expect(logprobs.top_logprobs.map((top: object | null) => top && Object.keys(top).length > 0)).toEqual([
        null,
        ...all.slice(1).map(() => true),
      ]);
      expect(logprobs.text_offset).toEqual(all.map((_, i) => all.slice(0, i).join("").length));
      expect(choices[1].logprobs.token_logprobs.length).toBe(model.tokenizer!.encode("日本").length + max_tokens);
      const events = await client.events(COMPLETIONS, { ...body, prompt });
      expect(events.map((event) => event.choices[0].text).join("")).toBe(text);
      const parts = events.map((event) => event.choices[0].logprobs).filter(Boolean);
      expect(parts.flatMap((part) => part.tokens)).toEqual(all);
      expect(parts.flatMap((part) => part.text_offset)).toEqual(logprobs.text_offset);
      expect(events.at(-1).choices[0].finish_reason).toBe("length");
    }
  });

  test("return logprobs in the completions format", async () => {
    const expected = await model.complete("The cat saw", { ...greedy, topLogprobs: 2 });
    const { logprobs } = (await complete({ prompt: "The cat saw", ...greedily, logprobs: 2 })).choices[0];
    const tokens = expected.tokens.map((id) => model.tokenizer!.decode([id]));
    expect(logprobs.tokens).toEqual(tokens);
    expect(logprobs.token_logprobs).toEqual(expected.logprobs.map((v) => expect.closeTo(v, 4)));
    expect(logprobs.text_offset).toEqual(tokens.map((_, i) => tokens.slice(0, i).join("").length));
    expect(Object.keys(logprobs.top_logprobs[0])).toContain(expected.top![0]![0]!.text);
    const events = await client.events(COMPLETIONS, { prompt: "The cat saw", ...greedily, logprobs: 2 });
    const parts = events.map((event) => event.choices[0].logprobs).filter(Boolean);
    expect(parts.flatMap((part) => part.tokens)).toEqual(tokens);
    expect(parts.flatMap((part) => part.text_offset)).toEqual(logprobs.text_offset);
    const none = (await complete({ prompt: "The", ...greedily, logprobs: 0 })).choices[0].logprobs;
    expect(none).toMatchObject({ top_logprobs: null });
  });

  test.each<[object, string, string]>([
    [{}, "prompt", "invalid_value"],
    [{ prompt: [] }, "prompt", "invalid_value"],
    [{ prompt: "" }, "prompt", "invalid_value"],
    [{ prompt: 5 }, "prompt", "invalid_value"],
    [{ prompt: ["a", 5] }, "prompt[1]", "invalid_value"],
    [{ prompt: [5, "a"] }, "prompt[1]", "invalid_value"],
    [{ prompt: [5, 100_000] }, "prompt[1]", "invalid_value"],
    [{ prompt: Array.from({ length: 2000 }, () => 1) }, "prompt", "context_length_exceeded"],
    [{ prompt: Array.from({ length: 17 }, () => "a") }, "prompt", "invalid_value"],
    [{ prompt: ["a", "b"], n: 9 }, "n", "invalid_value"],
    [{ prompt: "a", suffix: "b" }, "suffix", "unsupported"],
    [{ prompt: "a", best_of: 3 }, "best_of", "unsupported"],
    [{ prompt: "a", logprobs: true }, "logprobs", "invalid_value"],
    [{ prompt: "a", messages: [] }, "messages", "unknown_parameter"],
  ])("reject %j and name the parameter %s", async (body, param, code) => {
    const { status, body: answer } = await client.post(COMPLETIONS, body);
    expect({ status, answer }).toMatchObject({ status: 400, answer: { error: { param } } });
    expect(answer.error.code).toBe(code);
  });

  test.each([
    [COMPLETIONS, "prompt"],
    [EMBEDDINGS, "input"],
  ])("state the expected type if %s gets no %s", async (path, param) => {
    const { body } = await client.post(path, {});
    expect(body.error.message).toBe(`${param}: expected a text, token ids, or an array of those, got undefined`);
  });

  test("accept only ids for a model without a tokenizer", async () => {
    await using bare = tinyModel();
    await using server = await serve(bare, { port: 0 });
    const other = clientOf(server);
    expect((await other.post(COMPLETIONS, { prompt: [1, 2], max_tokens: 3 })).body.usage.completion_tokens).toBe(3);
    for (const body of [
      { prompt: "a" },
      { prompt: [1], echo: true },
      { prompt: [1], logprobs: 1 },
      { prompt: [1], stop: "a" },
    ])
      expect(await other.post(COMPLETIONS, body)).toMatchObject({ status: 400 });
    const chat = await other.post("/v1/chat/completions", { messages: [{ role: "user", content: "a" }] });
    expect(chat).toMatchObject({ status: 400, body: { error: { message: expect.stringMatching(/tokenizer/) } } });
  });
});

describe("embeddings", () => {
  test("are returned as numbers or base64, for texts and ids", async () => {
    const texts = ["The cat", "a house"];
    const vectors = await model.embed(texts);
    const { body } = await client.post(EMBEDDINGS, { input: texts, model: "a/tiny" });
    expect(body).toMatchObject({ object: "list", model: "a/tiny" });
    const near = (vector: Float32Array) => Array.from(vector, (v) => expect.closeTo(v, 4));
    expect(body.data.map((d: Json) => d.index)).toEqual([0, 1]);
    expect(body.data.map((d: Json) => d.embedding)).toEqual(vectors.map(near));
    const tokens = texts.reduce((sum, text) => sum + model.tokenizer!.encode(text).length, 0);
    expect(body.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
    const ids = [...model.tokenizer!.encode(texts[0]!)];
    const packed = (await client.post(EMBEDDINGS, { input: ids, encoding_format: "base64" })).body.data[0].embedding;
    const bytes = Buffer.from(packed, "base64");
    const floats = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
    expect(floats).toEqual(near(vectors[0]!));
  });

  test("are normalized again after truncation to fewer dimensions", async () => {
    const [vector] = await model.embed(["The cat"]);
    const { body } = await client.post(EMBEDDINGS, { input: "The cat", dimensions: 8 });
    const { embedding } = body.data[0];
    expect(embedding).toHaveLength(8);
    expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
    expect(embedding[3] / embedding[0]).toBeCloseTo(vector![3]! / vector![0]!, 3);
  });

  test("are the same in concurrent requests", async () => {
    const texts = Array.from({ length: 8 }, (_, i) => `The cat saw ${i}`);
    const vectors = await model.embed(texts);
    const answers = await Promise.all(texts.map((input) => client.post(EMBEDDINGS, { input })));
    for (const [i, { body }] of answers.entries())
      expect(body.data[0].embedding).toEqual(Array.from(vectors[i]!, (v) => expect.closeTo(v, 4)));
    expect(client.server.stats.answers).toBe(0);
  });

  test.each<[object, string]>([
    [{}, "input"],
    [{ input: [] }, "input"],
    [{ input: [""] }, "input[0]"],
    [{ input: { a: 1 } }, "input"],
    [{ input: "a", dimensions: 33 }, "dimensions"],
    [{ input: "a", dimensions: 0 }, "dimensions"],
    [{ input: "a", encoding_format: "hex" }, "encoding_format"],
    [{ input: "a", pooling: "mean" }, "pooling"],
  ])("reject %j and name the parameter %s", async (body, param) => {
    expect(await client.post(EMBEDDINGS, body)).toMatchObject({ status: 400, body: { error: { param } } });
  });

  test("use the model's default prompt, text length limit and dimensions", async () => {
    const own = { normalize: true, prompts: { document: "The text: " }, defaultPromptName: "document" } as const;
    for (const includePrompt of [true, false]) {
      await using other = await chatModel();
      other.model.setEmbedding({
        ...own,
        pooling: ["first", "mean"],
        includePrompt,
        truncateDim: 48,
        maxSeqLength: 20,
      });
      await using server = await serve(other, { port: 0 });
      const { post } = clientOf(server);
      const { body } = await post(EMBEDDINGS, { input: ["The cat", "a house"] });
      const vectors = await other.embed(["The cat", "a house"]);
      expect(vectors[0]).toHaveLength(48);
      const near = (vector: Float32Array) => Array.from(vector, (v) => expect.closeTo(v, 4));
      expect(body.data.map((d: Json) => d.embedding)).toEqual(vectors.map(near));
      // Ids are used without the default prompt.
      const ids = [...other.tokenizer!.encode("a house")];
      const asked = (await post(EMBEDDINGS, { input: ids })).body.data[0].embedding;
      expect(asked).toEqual(near(await other.embed(ids)));
      expect(asked).not.toEqual(near(vectors[1]!));
      expect(await post(EMBEDDINGS, { input: "a", dimensions: 49 })).toMatchObject({ status: 400 });
      const long = await post(EMBEDDINGS, { input: "house ".repeat(30) });
      expect(long).toMatchObject({
        status: 400,
        body: { error: { message: expect.stringMatching(/expected at most 20 tokens/) } },
      });
    }
  });

  test("report the model's text length limit, and truncate on request", async () => {
    await using other = await chatModel({ maxPositionEmbeddings: 64 });
    other.model.setEmbedding({ pooling: "mean", normalize: true, maxSeqLength: 40 });
    await using server = await serve(other, { port: 0 });
    const { post } = clientOf(server);
    const [short, ids] = ["The cat", [...Array(50).keys()]];
    const near = (vector: Float32Array) => Array.from(vector, (v) => expect.closeTo(v, 4));
    for (const times of [45, 100]) {
      const long = "猫".repeat(times);
      const { length } = other.tokenizer!.encode(long);
      expect(length).toBeGreaterThan(40);
      expect(await post(EMBEDDINGS, { input: [short, long] })).toMatchObject({
        status: 400,
        body: {
          error: {
            message: `input[1]: expected at most 40 tokens, the model's embedding.maxSeqLength, got ${length}`,
            param: "input[1]",
            code: "context_length_exceeded",
          },
        },
      });
      const { body } = await post(EMBEDDINGS, { input: [short, long], truncation: true });
      const vectors = await other.embed([short, long], { truncation: true });
      expect(body.data.map((d: Json) => d.embedding)).toEqual(vectors.map(near));
      expect(body.usage.prompt_tokens).toBe(other.tokenizer!.encode(short).length + 40);
    }
    expect(await post(EMBEDDINGS, { input: ids })).toMatchObject({ body: { error: { param: "input" } } });
    const cut = (await post(EMBEDDINGS, { input: ids, truncation: true })).body.data[0].embedding;
    expect(cut).toEqual(near(await other.embed(ids.slice(0, 40))));
    const wrong = await post(EMBEDDINGS, { input: short, truncation: "yes" });
    expect(wrong).toMatchObject({ status: 400, body: { error: { param: "truncation" } } });
  });

  test.each([{ modelType: "bert" }, { modelType: "gemma3_text", useBidirectionalAttention: true }])(
    "are returned by an embedding-only model, which the completions endpoint rejects: $modelType",
    async (kind) => {
      const sizes = {
        hiddenSize: 32,
        intermediateSize: 64,
        numHiddenLayers: 2,
        numAttentionHeads: 4,
        numKeyValueHeads: 4,
      };
      await using encoder = tinyModel({}, { ...kind, ...sizes, vocabSize: 320 });
      await using server = await serve(encoder, { port: 0, modelName: "bert" });
      const other = clientOf(server);
      const { body } = await other.post(EMBEDDINGS, { input: [[1, 2, 3]] });
      expect(body.data[0].embedding).toHaveLength(32);
      expect(await other.post(COMPLETIONS, { prompt: [1] })).toMatchObject({
        status: 400,
        body: { error: { param: "model", code: "unsupported" } },
      });
    },
  );
});

describe("other endpoints", () => {
  test("return health and models", async () => {
    expect(await client.ask("/health")).toMatchObject({ status: 200, body: { status: "ok" } });
    const entry = { id: "a/tiny", object: "model", created: expect.any(Number), owned_by: "heddle" };
    expect((await client.ask("/v1/models?x=1")).body).toEqual({ object: "list", data: [entry] });
    for (const path of ["/v1/models/a/tiny", "/v1/models/a%2Ftiny"])
      expect((await client.ask(path)).body).toEqual(entry);
    expect(await client.ask("/v1/models/b")).toMatchObject({
      status: 404,
      body: { error: { code: "model_not_found" } },
    });
    const head = await client.ask("/v1/models", { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, body: "" });
  });

  test.each([
    "/v1",
    "/v1/",
    "/v2/models",
    "//v1/models",
    "/v1/chat/completions/",
    "/etc/passwd",
    "/__proto__",
    "/constructor",
  ])("return 404 for %s", async (path) => {
    for (const method of ["GET", "POST"])
      expect(await client.ask(path, { method })).toMatchObject({
        status: 404,
        body: { error: { type: "invalid_request_error" } },
      });
  });

  test("name the method, the path and the known paths for an unknown path", async () => {
    const { status, body } = await client.ask("/chat/completions", { method: "POST" });
    expect(status).toBe(404);
    const known = ["POST /v1/chat/completions", "POST /v1/embeddings", "GET /v1/models", "GET /health"];
    const { message } = (body as { error: { message: string } }).error;
    for (const one of known) expect(message).toContain(`${one},`);
    expect(message).not.toContain("playground");
    expect(body).toEqual({
      error: {
        message: expect.stringMatching(/^path: expected one of .*, got POST \/chat\/completions$/),
        type: "invalid_request_error",
        param: null,
        code: "not_found",
      },
    });
  });

  test("cut a long unknown path in the message", async () => {
    const { status, body } = await client.ask(`/${"a".repeat(5000)}`, { method: "GET" });
    expect(status).toBe(404);
    expect((body as { error: { message: string } }).error.message).toMatch(/, got GET \/a+/u);
    expect((body as { error: { message: string } }).error.message.length).toBeLessThan(2000);
  });

  test("list the allowed methods for an unsupported method", async () => {
    for (const [path, method, allow] of [
      ["/v1/chat/completions", "GET", "POST"],
      ["/v1/embeddings", "DELETE", "POST"],
      ["/v1/models", "POST", "GET, HEAD"],
      ["/health", "PUT", "GET, HEAD"],
      ["/v1/chat/completions", "OPTIONS", "POST"],
    ] as const) {
      const { status, headers } = await client.ask(path, { method });
      expect([path, status, headers.get("allow")]).toEqual([path, 405, allow]);
    }
  });
});
