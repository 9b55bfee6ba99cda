// Ollama's API over plain HTTP: lists of models, refusals, and the server's rules.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { serve } from "../../../lib/serve/index.ts";
import { type Client, chatModel, clientOf, endlessModel, until, user, withServer } from "../helpers.ts";

const CHAT = "/api/chat";
const GENERATE = "/api/generate";

let model: LanguageModel;
beforeAll(async () => {
  model = await endlessModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());
const serving = (work: (client: Client) => Promise<void>, how = {}) => withServer(model, how, work);

describe("models", () => {
  test("loaded from files are listed, shown and reported as loaded", async () => {
    const folder = await mkdtemp(join(tmpdir(), "heddle-ollama-"));
    try {
      await model.save(folder);
      await using saved = await LanguageModel.load(folder);
      await withServer(saved, {}, async ({ ask, post }) => {
        const parameters = model.model.parameterCount;
        const details = {
          ...{ parent_model: "", format: "safetensors", family: "llama", families: ["llama"] },
          ...{ parameter_size: `${(parameters / 1e3).toFixed(2)}K`, quantization_level: "F32" },
        };
        const entry = { name: "tiny:latest", model: "tiny:latest", size: parameters * 4, digest: "", details };
        const modified_at = expect.stringMatching(/^\d{4}-.*Z$/);
        expect((await ask("/api/tags")).body).toEqual({ models: [{ ...entry, modified_at }] });
        expect((await ask("/api/ps")).body).toEqual({
          models: [{ ...entry, expires_at: "9999-12-31T23:59:59Z", size_vram: 0, context_length: 32_768 }],
        });
        for (const body of [{ model: "tiny:latest" }, { name: "tiny", verbose: true }]) {
          const shown = (await post("/api/show", body)).body;
          expect(shown).toMatchObject({
            details,
            modified_at,
            template: saved.tokenizer!.config.chatTemplates.default,
          });
          expect(shown.capabilities).toEqual(["completion", "tools", "thinking"]);
          expect(shown.model_info).toMatchObject({
            "general.architecture": "llama",
            "general.parameter_count": parameters,
            "llama.context_length": 32_768,
            "llama.block_count": 2,
          });
        }
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("are shown from their files without being loaded", async () => {
    const folder = await mkdtemp(join(tmpdir(), "heddle-ollama-"));
    try {
      Object.assign(model.generation, { temperature: 0.5 });
      await model.save(folder);
      const load = { contextLength: 512 };
      const server = await serve(
        [
          { name: "one", path: folder, load },
          { name: "none", path: join(folder, "none") },
        ],
        {
          port: 0,
        },
      );
      const { ask, post } = clientOf(server);
      try {
        const shown = (await post("/api/show", { model: "one:latest" })).body;
        expect((await ask("/api/ps")).body).toEqual({ models: [] });
        expect(shown.model_info).toMatchObject({
          "general.parameter_count": model.model.parameterCount,
          "llama.context_length": 512,
        });
        expect(shown.parameters).toMatch(/^temperature +0.5$/);
        await server.handler.load("one");
        expect((await ask("/api/ps")).body.models).toHaveLength(1);
        expect((await post("/api/show", { model: "one" })).body).toEqual(shown);
        const missing = await post("/api/show", { model: "none" });
        expect([missing.status, missing.body.error]).toEqual([
          500,
          expect.stringContaining("none could not be loaded"),
        ]);
      } finally {
        await server.close(0);
      }
    } finally {
      model.generation.temperature = undefined;
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("show their sampling defaults and capabilities", async () => {
    const plain = await chatModel({}, "{% for m in messages %}{{ m.content }}{% endfor %}");
    Object.assign(plain.generation, { temperature: 0.7, topK: 20, maxNewTokens: 5 });
    await withServer(plain, {}, async ({ post }) => {
      const { parameters, capabilities } = (await post("/api/show", { model: "tiny" })).body;
      expect(parameters.split("\n").map((line: string) => line.split(/ +/))).toEqual([
        ["temperature", "0.7"],
        ["top_k", "20"],
        ["num_predict", "5"],
      ]);
      expect(capabilities).toEqual(["completion"]);
      const answer = await post(GENERATE, { prompt: "a", stream: false, options: { temperature: 0 } });
      expect(answer.body.eval_count).toBeLessThanOrEqual(5);
    });
    await plain.dispose();
  });
});

test("/api/version has the package's version", async () => {
  const { version } = JSON.parse(await readFile(new URL("../../../package.json", import.meta.url), "utf8"));
  await serving(async ({ ask }) => {
    expect((await ask("/api/version")).body).toEqual({ version });
  });
});

describe("Ollama's API", () => {
  const call = { function: { name: "f", arguments: "{}" } };
  test.each<[string, string, object, string]>([
    [
      "an unknown option",
      CHAT,
      { options: { num_predicts: 1 } },
      "options.num_predicts: expected a known parameter (nearest: num_predict)",
    ],
    ["an invalid option", CHAT, { options: { top_k: -1 } }, "options.top_k: expected a whole number from 0"],
    [
      "Mirostat",
      CHAT,
      { options: { mirostat: 2 } },
      "options.mirostat: expected 0, because Mirostat is not supported, got 2",
    ],
    ["typical sampling", CHAT, { options: { typical_p: 0.5 } }, "options.typical_p: expected 1"],
    [
      "a limited window of penalties",
      CHAT,
      { options: { repeat_last_n: 64 } },
      "options.repeat_last_n: expected -1 for the whole context",
    ],
    ["options that are not an object", CHAT, { options: [] }, "options: expected an object"],
    [
      "an unknown option of embeddings",
      "/api/embed",
      { input: "a", options: { top: 1 } },
      "options.top: expected a known",
    ],
    ["an unknown format", CHAT, { format: "yaml" }, 'format: expected "json" or a JSON schema'],
    ["an unsupported schema", CHAT, { format: { not: {} } }, "format#/not: "],
    ["an unknown level of thinking", CHAT, { think: "max" }, "think: expected true, false, low, medium or high"],
    [
      "images in messages",
      CHAT,
      { messages: [{ role: "user", content: "a", images: ["eA=="] }] },
      "messages[0].images: is not supported",
    ],
    [
      "an unknown role",
      CHAT,
      { messages: [{ role: "human", content: "a" }] },
      "messages[0].role: expected system, user, assistant, tool",
    ],
    [
      "content that is not a text",
      CHAT,
      { messages: [{ role: "user", content: [] }] },
      "messages[0].content: expected a text",
    ],
    [
      "a message that is not an object",
      CHAT,
      { messages: ["a"] },
      "messages[0]: expected a message with role and content",
    ],
    [
      "arguments that are not an object",
      CHAT,
      { messages: [{ role: "assistant", tool_calls: [call] }] },
      "messages[0].tool_calls[0].function.arguments: expected an object",
    ],
    [
      "a tool without a name",
      CHAT,
      { tools: [{ type: "function", function: {} }] },
      "tools: expected at most 128 functions",
    ],
    [
      "a last message of the assistant if the model thinks first",
      CHAT,
      { messages: [...user("a"), { role: "assistant", content: "b" }] },
      "messages: expected a last message of the user",
    ],
    ["top_logprobs without logprobs", CHAT, { top_logprobs: 1 }, "top_logprobs: expected none unless logprobs is true"],
    [
      "keep_alive: 0 without messages, which unloads in Ollama",
      CHAT,
      { messages: [], keep_alive: 0 },
      "keep_alive: 0 in a request without a prompt is not supported",
    ],
    ["keep_alive: 0 with an empty prompt", GENERATE, { prompt: "", keep_alive: "0s" }, "keep_alive: 0 in a request"],
    ["shift", CHAT, { shift: true }, "shift: is not supported"],
    [
      "images in prompts",
      GENERATE,
      { prompt: "a", images: ["eA=="] },
      "images: expected none, because the model reads text",
    ],
    ["a template", GENERATE, { prompt: "a", template: "{{ .Prompt }}" }, "template: expected none"],
    [
      "a context",
      GENERATE,
      { prompt: "a", context: [1] },
      "context: expected none: send the conversation to /api/chat",
    ],
    ["a suffix", GENERATE, { prompt: "a", suffix: "b" }, "suffix: tiny has no fill-in-the-middle tokens"],
    [
      "a system prompt with a raw prompt",
      GENERATE,
      { prompt: "a", system: "b", raw: true },
      "system: expected none with raw",
    ],
    ["thinking about a raw prompt", GENERATE, { prompt: "a", think: true, raw: true }, "think: expected none with raw"],
    ["the width of an image", GENERATE, { prompt: "a", width: 10 }, "width: is not supported"],
    ["an unknown parameter", GENERATE, { promt: "a" }, "promt: expected a known parameter (nearest: prompt)"],
    ["embeddings without an input", "/api/embed", {}, "input: expected a text"],
    ["older embeddings without a prompt", "/api/embeddings", {}, "prompt: expected a text"],
    ["too many dimensions", "/api/embed", { input: "a", dimensions: 1000 }, "dimensions: expected at most 32"],
  ])("rejects %s", (_, path, more, start) =>
    serving(async ({ post }) => {
      const common = path === CHAT ? { messages: user("a"), stream: false } : {};
      const { status, body } = await post(path, { ...common, ...more });
      expect({ status, start: body.error?.slice(0, start.length) }).toEqual({ status: 400, start });
    }),
  );

  test("rejects thinking if the chat template has none", async () => {
    const plain = await chatModel({}, "{% for m in messages %}{{ m.content }}{% endfor %}");
    await withServer(plain, {}, async ({ post }) => {
      const body = { messages: user("a"), stream: false, options: { num_predict: 1 } };
      expect((await post(CHAT, { ...body, think: true })).body.error).toContain("think: expected none");
      expect((await post(CHAT, { ...body, think: false })).status).toBe(200);
    });
    await plain.dispose();
  });

  test.each(["pull", "push", "create", "copy", "delete"])("rejects %s, which changes models", (name) =>
    serving(async ({ post }) => {
      const method = name === "delete" ? "DELETE" : "POST";
      expect(await post(`/api/${name}`, { model: "tiny" }, { method })).toMatchObject({
        status: 501,
        body: { error: `/api/${name}: is not supported: the server's models are given when it starts` },
      });
    }),
  );

  test("rejects unknown paths, models and methods, with errors in Ollama's form", () =>
    serving(async ({ ask, post }) => {
      const path = await ask("/api/nothing");
      expect(path).toMatchObject({ status: 404, body: { error: expect.stringContaining("POST /api/chat") } });
      for (const other of ["other", "other:latest", "tiny:7b"])
        expect(await post(CHAT, { model: other, messages: user("a") })).toMatchObject({
          status: 404,
          body: { error: expect.stringContaining("model: expected tiny, got") },
        });
      expect(await ask(CHAT)).toMatchObject({ status: 405, body: { error: expect.stringContaining("method") } });
    }));
});

describe("the server's rules hold", () => {
  const endless = { messages: user("a"), options: { num_predict: -1, temperature: 0 } };

  test("API keys, origins and body sizes are checked", () =>
    serving(
      async ({ ask, post }) => {
        const headers = { authorization: "Bearer secret" };
        const error = expect.any(String);
        for (const path of [CHAT, GENERATE, "/api/embed", "/api/embeddings", "/api/show", "/api/pull"])
          expect(await post(path, {})).toMatchObject({ status: 401, body: { error } });
        for (const path of ["/api/tags", "/api/ps", "/api/version", "/api/nothing"])
          expect(await ask(path)).toMatchObject({ status: 401, body: { error } });
        expect((await ask("/api/tags", { headers })).status).toBe(200);
        const origin = await ask("/api/tags", { headers: { ...headers, origin: "https://evil.example" } });
        expect(origin).toMatchObject({ status: 403, body: { error } });
        const large = await post(CHAT, { messages: user("x".repeat(2000)) }, { headers });
        expect(large).toMatchObject({ status: 413, body: { error } });
      },
      { apiKeys: ["secret"], maxBodyBytes: 1000 },
    ));

  test("answers have at most the server's maximum number of tokens", () =>
    serving(
      async ({ post }) => {
        for (const num_predict of [50, -1, undefined]) {
          const { body } = await post(CHAT, { ...endless, stream: false, options: { num_predict, temperature: 0 } });
          expect(body).toMatchObject({ eval_count: 3, done_reason: "length" });
        }
      },
      { maxTokens: 3 },
    ));

  test("a full queue gives a 429, also for embeddings, and lists of models are still answered", () =>
    serving(
      async ({ server, ask, post }) => {
        const leaving = new AbortController();
        const first = post(CHAT, endless, { signal: leaving.signal }).catch(() => "left");
        await until(() => server.stats.answers === 1, "the first answer");
        for (const [path, body] of [
          [CHAT, { messages: user("a") }],
          [GENERATE, { prompt: "a" }],
          ["/api/embed", { input: "a" }],
          ["/api/embeddings", { prompt: "a" }],
        ] as const)
          expect(await post(path, body)).toMatchObject({ status: 429, body: { error: expect.any(String) } });
        expect((await ask("/api/ps")).status).toBe(200);
        expect((await post("/api/show", {})).status).toBe(200);
        leaving.abort();
        expect(await first).toBe("left");
        await until(() => server.stats.answers === 0, "its place to be free");
      },
      { maxConcurrent: 1, maxQueue: 0 },
    ));

  test("an answer that the server ends early has an error as its last line", () =>
    serving(async ({ server, post }) => {
      const streamed = post(CHAT, endless);
      await until(() => server.stats.tokens > 8, "the answer to begin");
      await server.close(0);
      const last = (await streamed).body.trimEnd().split("\n").at(-1);
      expect(JSON.parse(last)).toEqual({ error: expect.any(String) });
    }));
});
