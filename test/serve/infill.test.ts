// Fill-in-the-middle over HTTP, in the form of llama.cpp's server.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { fimTokens, infillIds } from "../../lib/language-model/infill.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { until, withServer } from "./helpers.ts";

const QWEN = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"];
const withTokens = (specialTokens: string[], more: object = {}) =>
  Tokenizer.train(sentences, { vocabSize: 330, specialTokens, ...more });

let tokenizer: Tokenizer;
let model: LanguageModel;
beforeAll(async () => {
  tokenizer = await withTokens(QWEN);
  model = tinyModel({ tokenizer }, { maxPositionEmbeddings: 256 });
});
afterAll(() => model.dispose());

const id = (token: string, of = tokenizer) => of.tokenToId(token)!;
const raw = (text: string, of = tokenizer) => [...of.encode(text, { addSpecialTokens: false, addPrefixSpace: false })];
const [PRE, SUF, MID] = QWEN as [string, string, string];

describe("a prompt", () => {
  test("has the prefix, the suffix and the beginning of the middle, in this order", async () => {
    const { ids } = await infillIds(tokenizer, { prefix: "The cat", suffix: "and ran", middle: "saw" });
    expect(ids).toEqual([id(PRE), ...raw("The cat"), id(SUF), ...raw("and ran"), id(MID), ...raw("saw")]);
  });

  test("encodes special tokens in the texts as text", async () => {
    const { ids } = await infillIds(tokenizer, { prefix: `a${MID}`, suffix: SUF });
    expect(ids.filter((one) => [id(PRE), id(SUF), id(MID)].includes(one))).toEqual([id(PRE), id(SUF), id(MID)]);
  });

  test("begins with other files, and with their names if the model has a token for files", async () => {
    const extra = [{ text: "the sea", filename: "sea.txt" }, { text: "a house" }];
    const { ids } = await infillIds(tokenizer, { prefix: "The", suffix: "", extra });
    const file = id("<|file_sep|>");
    expect(ids).toEqual([
      ...[id("<|repo_name|>"), ...raw("project\n"), file, ...raw("sea.txt\nthe sea"), file, ...raw("file\na house")],
      ...[file, ...raw("file\n"), id(PRE), ...raw("The"), id(SUF), id(MID)],
    ]);
    const plain = await withTokens(QWEN.slice(0, 3));
    const { ids: without } = await infillIds(plain, { prefix: "The", suffix: "", extra });
    expect(without.slice(0, -4 - raw("The", plain).length + 1)).toEqual([
      ...raw("the sea\n\n", plain),
      ...raw("a house\n\n", plain),
    ]);
  });

  test("begins with BOS if the tokenizer adds it", async () => {
    const own = await withTokens(["<s>", ...QWEN], { bosToken: "<s>" });
    expect((await infillIds(own, { prefix: "", suffix: "" })).ids).toEqual(
      ["<s>", PRE, SUF, MID].map((t) => id(t, own)),
    );
  });

  test.each([
    ["Qwen and CodeGemma", QWEN.slice(0, 3)],
    ["StarCoder and Granite", ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]],
    ["SantaCoder", ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"]],
    ["DeepSeek", ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"]],
    ["Code Llama", ["▁<PRE>", "▁<SUF>", "▁<MID>"]],
  ])("uses the tokens of %s", async (_, names) => {
    const own = await withTokens(names);
    expect((await infillIds(own, { prefix: "", suffix: "" })).ids).toEqual(names.map((name) => id(name, own)));
  });

  test("puts the suffix first for Codestral, which has no middle token", async () => {
    const own = await withTokens(["[PREFIX]", "[SUFFIX]"]);
    const { ids } = await infillIds(own, { prefix: "The", suffix: "sea", middle: "cat" });
    const [prefix, suffix] = [id("[PREFIX]", own), id("[SUFFIX]", own)];
    expect(ids).toEqual([suffix, ...raw("sea", own), prefix, ...raw("The", own), ...raw("cat", own)]);
  });

  test("is rejected for a tokenizer without fill-in-the-middle tokens", async () => {
    const own = await tinyTokenizer();
    expect(fimTokens(own)).toBeUndefined();
    expect(await failureOf(() => infillIds(own, { prefix: "", suffix: "" }))).toMatchObject({ code: "UNSUPPORTED" });
  });
});

describe("/infill", () => {
  const body = {
    input_prefix: "The cat",
    input_suffix: " and ran home",
    prompt: " saw",
    temperature: 0,
    n_predict: 12,
  };
  const expected = async () => {
    const { ids } = await infillIds(tokenizer, { prefix: "The cat", suffix: " and ran home", middle: " saw" });
    return model.complete(ids, {
      maxTokens: 12,
      temperature: 0,
      stop: ["<|fim_pad|>", "<|file_sep|>", "<|repo_name|>"].map((t) => id(t)),
    });
  };

  test("answers as the library does for the same prompt, whole and streamed", () =>
    withServer(model, {}, async ({ post }) => {
      const { text, usage } = await expected();
      const whole = await post("/infill", body);
      expect([whole.status, whole.body]).toEqual([
        200,
        expect.objectContaining({
          content: text,
          stop: true,
          model: "tiny",
          tokens_predicted: usage.completionTokens,
          tokens_evaluated: usage.promptTokens,
        }),
      ]);
      expect(whole.body.stop_type).toBe(usage.completionTokens === 12 ? "limit" : "eos");
      // Editors send these parameters too.
      const more = { cache_prompt: true, samplers: ["top_k"], t_max_predict_ms: 500, id_slot: 0, seed: -1, top_k: 40 };
      const { body: streamed } = await post("/infill", { ...body, ...more, stream: true });
      const events = (streamed as string)
        .trim()
        .split("\n\n")
        .map((event) => JSON.parse(event.replace(/^data: /, "")));
      expect(events.map(({ content }) => content).join("")).toBe(text);
      expect(events.map(({ stop }) => stop)).toEqual([...Array(events.length - 1).fill(false), true]);
      expect(events.at(-1)).toMatchObject({ tokens_predicted: usage.completionTokens });
    }));

  test("reports what ended the answer, as llama.cpp does", async () => {
    const { text, usage } = await expected();
    const stop = text.slice(2, 5);
    await using full = tinyModel({ tokenizer }, { maxPositionEmbeddings: usage.promptTokens + 1 });
    for (const [served, more, ending] of [
      [model, { stop: [stop] }, { stop_type: "word", stopping_word: stop, truncated: false }],
      [model, { n_predict: 1 }, { stop_type: "limit", stopping_word: "", truncated: false }],
      [full, {}, { stop_type: "limit", stopping_word: "", truncated: true }],
    ] as const)
      await withServer(served, {}, async ({ post }) => {
        const { body: whole } = await post("/infill", { ...body, ...more });
        expect(whole).toMatchObject({ ...ending, has_new_line: whole.content.includes("\n") });
        const { body: streamed } = await post("/infill", { ...body, ...more, stream: true });
        const last = JSON.parse((streamed as string).trimEnd().split("\n\n").at(-1)!.replace("data: ", ""));
        expect({ ...last, tokens_cached: 0 }).toEqual({ ...whole, tokens_cached: 0, content: "" });
      });
  });

  test("answers Ollama's requests with a suffix, whole and streamed", () =>
    withServer(model, {}, async ({ post }) => {
      const { ids } = await infillIds(tokenizer, { prefix: "The cat", suffix: " and ran home" });
      const stop = ["<|fim_pad|>", "<|file_sep|>", "<|repo_name|>"].map((t) => id(t));
      const { text, usage } = await model.complete(ids, { maxTokens: 12, temperature: 0, stop });
      const asked = { prompt: "The cat", suffix: " and ran home", options: { num_predict: 12, temperature: 0 } };
      const { body: whole } = await post("/api/generate", { ...asked, stream: false });
      expect(whole).toMatchObject({ response: text, done: true, prompt_eval_count: ids.length });
      expect(whole.eval_count).toBe(usage.completionTokens);
      const lines = ((await post("/api/generate", asked)).body as string).trim().split("\n");
      expect(lines.map((line) => JSON.parse(line).response).join("")).toBe(text);
      expect((await post("/api/show", {})).body.capabilities).toContain("insert");
      for (const [more, message] of [
        [{ system: "Be brief" }, "system: expected none with a suffix"],
        [{ think: true }, "think: expected none with a suffix"],
        [{ raw: true }, "raw: expected none with a suffix"],
      ] as const)
        expect(await post("/api/generate", { ...asked, ...more })).toMatchObject({
          ...{ status: 400, body: { error: expect.stringContaining(message) } },
        });
      expect((await post("/api/generate", { ...asked, think: false, stream: false })).status).toBe(200);
    }));

  test("has at most the server's maximum number of tokens, also without n_predict", () =>
    withServer(model, { maxTokens: 3 }, async ({ post }) => {
      for (const n_predict of [undefined, -1, 12])
        expect((await post("/infill", { ...body, n_predict, ignore_eos: true })).body.tokens_predicted).toBeLessThan(4);
    }));

  test("rejects invalid requests, and names the parameter", () =>
    withServer(model, {}, async ({ post }) => {
      for (const [given, message] of [
        [{ prompt: "a" }, /^input_prefix: expected a prefix or a suffix/],
        [{ ...body, input_extra: [{}] }, /^input_extra: /],
        [{ ...body, n_predict: "a" }, /^n_predict: /],
        [{ ...body, temperatur: 1 }, /^temperatur: .*nearest: temperature/],
        [{ ...body, input_prefix: "The cat ".repeat(300) }, /^input_prefix: expected at most 256 tokens/],
      ] as const)
        expect([given, await post("/infill", given)]).toMatchObject([
          given,
          { status: 400, body: { error: { message: expect.stringMatching(message) } } },
        ]);
    }));

  test("rejects models without fill-in-the-middle tokens, and encoders", async () => {
    await using plain = tinyModel({ tokenizer: await tinyTokenizer() });
    const sizes = { hiddenSize: 24, intermediateSize: 32, numHiddenLayers: 1, numAttentionHeads: 4 };
    await using encoder = createModel({ modelType: "bert", ...sizes, maxPositionEmbeddings: 64 }, { tokenizer });
    for (const [other, message] of [
      [plain, "model: tiny has no fill-in-the-middle tokens"],
      [encoder, "model: tiny is an encoder and cannot generate text"],
    ] as const)
      await withServer(other, {}, async ({ post }) => {
        expect(await post("/infill", body)).toMatchObject({
          status: 400,
          body: { error: { message, code: "unsupported" } },
        });
      });
  });
});

test("a stream that the server ends early has one error as its last event", async () => {
  await using long = tinyModel({ tokenizer }, { maxPositionEmbeddings: 32_768 });
  await withServer(long, {}, async ({ server, ask }) => {
    const body = {
      input_prefix: "The",
      input_suffix: "",
      n_predict: 30_000,
      ignore_eos: true,
      temperature: 0,
      stream: true,
    };
    const headers = { "content-type": "application/json" };
    const answer = ask("/infill", { method: "POST", headers, body: JSON.stringify(body) });
    await until(() => server.stats.tokens > 0, "the first token");
    await server.close(0);
    const events = ((await answer).body as string).trimEnd().split("\n\n");
    expect(JSON.parse(events.at(-1)!.replace("data: ", ""))).toEqual({
      error: expect.objectContaining({ type: "server_error", message: expect.any(String) }),
    });
  });
});
