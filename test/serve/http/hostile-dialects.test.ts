// The server answers or rejects any input of Anthropic's and Ollama's APIs, and keeps running.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import { type Client, chatModel, clientOf, user } from "../helpers.ts";

let model: LanguageModel;
let server: ModelServer;
let client: Client;
beforeAll(async () => {
  model = await chatModel();
  server = await serve(model, { port: 0, modelName: "tiny", maxTokens: 3 });
  client = clientOf(server);
});
afterAll(async () => {
  await server.close();
  await model.dispose();
});

const MESSAGES = "/v1/messages";
const COUNT = "/v1/messages/count_tokens";
/** A valid request per endpoint, so that only a changed parameter can be invalid. */
const GOOD: Record<string, object> = {
  [MESSAGES]: { max_tokens: 3, messages: user("hi") },
  [COUNT]: { messages: user("hi") },
  "/api/chat": { messages: user("hi") },
  "/api/generate": { prompt: "hi" },
  "/api/embed": { input: "hi" },
  "/api/embeddings": { prompt: "hi" },
  "/api/show": {},
};
const PATHS = Object.keys(GOOD);
const NAMES = [
  ...[
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "stop_sequences",
    "thinking",
    "output_config",
  ],
  ...["temperature", "top_p", "top_k", "stream", "metadata", "prompt", "input", "options", "format", "think", "raw"],
  ...["keep_alive", "suffix", "context", "template", "images", "logprobs", "top_logprobs", "truncate", "dimensions"],
  ...["name", "container", "__proto__", "constructor", "toString"],
];

async function isAnswered(path: string, body: string): Promise<void> {
  const { status, body: answer } = await client.post(path, body);
  if (status === 200) return;
  expect([400, 404]).toContain(status);
  const isOllama = path.startsWith("/api/");
  const message = isOllama ? answer.error : answer.error.message;
  expect(message.length).toBeLessThan(1000);
  const type = status === 400 ? "invalid_request_error" : "not_found_error";
  expect(answer).toEqual(
    isOllama ? { error: message } : { type: "error", error: { type, message }, request_id: answer.request_id },
  );
  if (!isOllama) expect(answer.request_id).toMatch(/^[\w-]+$/);
}

async function isThere(): Promise<void> {
  expect((await client.ask("/health")).status).toBe(200);
  expect((await client.post(MESSAGES, GOOD[MESSAGES])).status).toBe(200);
  expect(server.stats).toMatchObject({ running: 0, waiting: 0, answers: 0 });
}

const block = fc.record(
  {
    type: fc.constantFrom("text", "image", "tool_use", "tool_result", "thinking", "document", "x"),
    text: fc.oneof(fc.string(), fc.jsonValue()),
    thinking: fc.string(),
    id: fc.constantFrom("a", "b", "", null),
    tool_use_id: fc.constantFrom("a", "b", 1),
    name: fc.constantFrom("f", "", null),
    input: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
    content: fc.oneof(
      fc.string(),
      fc.array(fc.record({ type: fc.constant("text"), text: fc.string() })),
      fc.jsonValue(),
    ),
    is_error: fc.oneof(fc.boolean(), fc.jsonValue()),
  },
  { requiredKeys: ["type"] },
);
const message = fc.record(
  {
    role: fc.constantFrom("user", "assistant", "system", "tool", "x"),
    content: fc.oneof(fc.string(), fc.array(block, { maxLength: 4 }), fc.jsonValue()),
    thinking: fc.oneof(fc.string(), fc.jsonValue()),
    tool_calls: fc.oneof(
      fc.array(
        fc.record({ function: fc.record({ name: fc.string(), arguments: fc.oneof(fc.object(), fc.jsonValue()) }) }),
      ),
      fc.jsonValue(),
    ),
    tool_name: fc.oneof(fc.string(), fc.jsonValue()),
  },
  { requiredKeys: ["role", "content"] },
);
const optionNames = ["num_predict", "top_k", "stop", "seed", "mirostat", "num_ctx", "repeat_last_n", "__proto__"];
/** A nearly valid value of a parameter, or any value. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom(
    ...[0, -0, 1, -1, 1e308, 2 ** 53, 0.5, true, false, null, "", "auto", "json", "hi", "tiny:latest", "\ud800"],
  ),
  fc.array(message, { maxLength: 4 }),
  fc.array(block, { maxLength: 4 }),
  fc.array(fc.record({ name: fc.constantFrom("f", "g"), input_schema: fc.oneof(fc.object(), fc.jsonValue()) }), {
    maxLength: 3,
  }),
  fc.record({
    type: fc.constantFrom("auto", "any", "tool", "none", "enabled", "disabled", "adaptive"),
    name: fc.constantFrom("f", 1),
  }),
  fc.dictionary(fc.constantFrom(...optionNames), fc.oneof(fc.integer({ min: -2, max: 9 }), fc.jsonValue())),
);

test("the server survives any JSON value as body", () =>
  fc.assert(fc.asyncProperty(fc.constantFrom(...PATHS), fc.json(), isAnswered), { numRuns: 150 }).then(isThere));

test("the server survives any value of any parameter", () =>
  fc
    .assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { minLength: 1, maxLength: 2 }),
        async (path, given) => {
          const good = JSON.stringify({ ...GOOD[path], model: "tiny" }).slice(0, -1);
          // Concatenate the JSON by hand to keep __proto__ and duplicate names.
          const more = given.map(([name, v]) => `,${JSON.stringify(name)}:${JSON.stringify(v)}`);
          await isAnswered(path, `${good}${more.join("")}}`);
        },
      ),
      { numRuns: 800 },
    )
    .then(isThere));

describe("an oversized request", () => {
  const filled = (text: string) => Array.from({ length: Math.floor(4e6 / (text.length + 1)) }, () => text).join(",");
  const said = (content: string) => `{"role":"user","content":${content}}`;
  test.each<[string, string, string]>([
    ["many messages", MESSAGES, `{"max_tokens":3,"messages":[${filled(said('""'))}]}`],
    ["many blocks", MESSAGES, `{"max_tokens":3,"messages":[${said(`[${filled('{"type":"text","text":""}')}]`)}]}`],
    [
      "many short blocks",
      MESSAGES,
      `{"max_tokens":3,"messages":[${said(`[${filled('{"type":"text","text":"a"}').slice(0, 27 * 30_000 - 1)}]`)}]}`,
    ],
    ["many system blocks", COUNT, `{"system":[${filled('{"type":"text","text":""}')}],"messages":[${said('"a"')}]}`],
    ["a long text", COUNT, `{"messages":[${said(`"${"a ".repeat(2e6)}"`)}]}`],
    ["many tools", COUNT, `{"messages":[${said('"a"')}],"tools":[${filled("{}")}]}`],
    [
      "many stop sequences",
      MESSAGES,
      `{"max_tokens":3,"messages":[${said('"a"')}],"stop_sequences":[${filled('"a"')}]}`,
    ],
    ["many messages in Ollama's API", "/api/chat", `{"messages":[${filled(said('""'))}]}`],
    ["many options", "/api/chat", `{"messages":[${said('"a"')}],"options":{${filled('"num_gpu":1')}}}`],
    ["a long prompt", "/api/generate", `{"prompt":"${"a ".repeat(2e6)}"}`],
    ["a long raw prompt", "/api/generate", `{"raw":true,"prompt":"${"a ".repeat(2e6)}"}`],
    ["a long name", "/api/show", `{"model":"${"a".repeat(4e6)}"}`],
  ])("is answered within ten seconds if it has %s", async (_, path, body) => {
    expect(body.length).toBeGreaterThan(190_000);
    const before = performance.now();
    await isAnswered(path, body);
    expect(performance.now() - before).toBeLessThan(10_000);
    await isThere();
  });
});
