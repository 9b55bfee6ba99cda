// The server answers or rejects any input, and keeps running.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type ModelServer, serve } from "../../../lib/serve/index.ts";
import { type Client, chatModel, clientOf, rawSocket, readAll, user } from "../helpers.ts";

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

const PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"];
const NAMES = [
  ...["model", "messages", "prompt", "input", "tools", "tool_choice", "max_tokens", "max_completion_tokens"],
  ...["temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "presence_penalty", "frequency_penalty"],
  ...["repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "echo", "best_of", "suffix", "stream"],
  ...["stream_options", "chat_template_kwargs", "response_format", "dimensions", "encoding_format", "ignore_eos"],
  ...["instructions", "include", "text", "reasoning", "truncation", "store", "previous_response_id", "background"],
  ...["max_output_tokens", "parallel_tool_calls", "reasoning_effort"],
  ...["user", "metadata", "functions", "__proto__", "constructor", "toString", "hasOwnProperty"],
];
/** A valid request per endpoint, so that only a changed parameter can be invalid. */
const GOOD: Record<string, object> = {
  "/v1/chat/completions": { messages: user("hi") },
  "/v1/completions": { prompt: "hi" },
  "/v1/embeddings": { input: "hi" },
  "/v1/responses": { input: "hi" },
};

async function isAnswered(path: string, body: string): Promise<void> {
  const { status, body: answer } = await client.post(path, body);
  if (status === 200) return;
  expect([400, 404]).toContain(status);
  const { error } = answer;
  expect(error).toMatchObject({ message: expect.any(String), type: "invalid_request_error", code: expect.any(String) });
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  expect(error.message.length).toBeLessThan(1000);
}

async function isThere(): Promise<void> {
  expect((await client.ask("/health")).status).toBe(200);
  expect((await client.post("/v1/completions", { prompt: "The", max_tokens: 1 })).status).toBe(200);
  expect(server.stats).toMatchObject({ running: 0, waiting: 0, answers: 0 });
}

/** A nearly valid value of a parameter, or any value. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom(
    ...[0, -0, 1, -1, 1e308, -1e308, 1e-320, 2 ** 53, 0.5, true, false, null, "", "auto", "hi", "\ud800", "\u0000"],
  ),
  fc.array(fc.oneof(fc.integer({ min: -1, max: 400 }), fc.string(), fc.constant(null))),
  fc.dictionary(fc.oneof(fc.nat(400).map(String), fc.string()), fc.double({ noNaN: true })),
  fc.array(
    fc.record({
      type: fc.constantFrom("message", "function_call", "function_call_output", "reasoning", "item_reference", "x"),
      role: fc.constantFrom("user", "assistant", "x", undefined),
      ...{ id: fc.string(), call_id: fc.constantFrom("a", "b"), name: fc.string(), arguments: fc.string() },
      ...{ content: fc.oneof(fc.string(), fc.jsonValue()), output: fc.oneof(fc.string(), fc.jsonValue()) },
      summary: fc.constantFrom([], [{ type: "summary_text", text: "a" }], [1], 1),
    }),
  ),
  fc.array(
    fc.record({
      role: fc.constantFrom("user", "assistant", "tool", "system", "function", "developer", "x"),
      content: fc.oneof(
        fc.string(),
        fc.array(fc.record({ type: fc.constantFrom("text", "image_url", "refusal"), text: fc.string() })),
        fc.jsonValue(),
      ),
      tool_calls: fc.oneof(
        fc.jsonValue(),
        fc.array(fc.record({ function: fc.record({ name: fc.string(), arguments: fc.string() }) })),
      ),
    }),
  ),
);

test("the server survives any JSON value as body", () =>
  fc
    .assert(
      fc.asyncProperty(fc.constantFrom(...PATHS), fc.json(), async (path, body) => {
        await isAnswered(path, body);
      }),
      { numRuns: 150 },
    )
    .then(isThere));

test("the server survives any value of any parameter", () =>
  fc
    .assert(
      fc.asyncProperty(
        fc.constantFrom(...PATHS),
        fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { minLength: 1, maxLength: 2 }),
        async (path, given) => {
          const good = JSON.stringify(GOOD[path]).slice(0, -1);
          // Concatenate the JSON by hand to keep __proto__ and duplicate names.
          await isAnswered(
            path,
            `${good}${given.map(([name, v]) => `,${JSON.stringify(name)}:${JSON.stringify(v)}`).join("")}}`,
          );
        },
      ),
      { numRuns: 600 },
    )
    .then(isThere));

describe("an oversized request", () => {
  const deep = (open: string, close: string, count: number) => open.repeat(count) + close.repeat(count);
  const filled = (text: string) => Array.from({ length: Math.floor(4e6 / (text.length + 1)) }, () => text).join(",");
  test.each<[string, string, string]>([
    ["deeply nested arrays", PATHS[0]!, deep("[", "]", 2_000_000)],
    ["deeply nested objects", PATHS[0]!, deep('{"a":', "}", 300_000).replace("}", "1}")],
    ["a deeply nested parameter", PATHS[0]!, `{"messages":[],"metadata":${deep("[", "]", 100_000)}}`],
    ["many invalid messages", PATHS[0]!, `{"messages":[${filled("{}")}]}`],
    ["many messages", PATHS[0]!, `{"messages":[${filled('{"role":"user","content":""}')}]}`],
    ["many parts", PATHS[0]!, `{"messages":[{"role":"user","content":[${filled('{"type":"text","text":""}')}]}]}`],
    ["many tools", PATHS[0]!, `{"messages":[{"role":"user","content":""}],"tools":[${filled("{}")}]}`],
    ["a long text", PATHS[0]!, `{"messages":[{"role":"user","content":"${"a ".repeat(2e6)}"}]}`],
    ["many stops", PATHS[1]!, `{"prompt":"a","stop":[${filled('"a"')}]}`],
    ["a large logit_bias", PATHS[1]!, `{"prompt":"a","logit_bias":{${filled('"1":1')}}}`],
    ["many ids", PATHS[1]!, `{"prompt":[${filled("1")}]}`],
    ["many prompts", PATHS[1]!, `{"prompt":[${filled('"a"')}]}`],
    ["a long prompt", PATHS[1]!, `{"prompt":"${"a ".repeat(2e6)}"}`],
    ["many parameters", PATHS[1]!, `{${filled('"store":1')},"prompt":"a"}`],
    ["a long name", PATHS[1]!, `{"${"a".repeat(4e6)}":1}`],
    ["many inputs", PATHS[2]!, `{"input":[${filled('"a"')}]}`],
    ["a long input", PATHS[2]!, `{"input":"${"a ".repeat(2e6)}"}`],
    ["many items", PATHS[3]!, `{"input":[${filled('{"role":"user","content":""}')}]}`],
    ["a long text of a response", PATHS[3]!, `{"input":"${"a ".repeat(2e6)}"}`],
    ["whitespace", PATHS[2]!, `${" ".repeat(4e6)}{}`],
  ])("is answered within ten seconds if it has %s", async (_, path, body) => {
    expect(body.length).toBeGreaterThan(190_000);
    const before = performance.now();
    await isAnswered(path, body);
    expect(performance.now() - before).toBeLessThan(10_000);
    await isThere();
  });
});

test.each([
  ["nothing", ""],
  ["not JSON", "{"],
  ["not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ["only a byte order mark", "\ufeff"],
])("the server rejects a body that is %s", async (_, body) => {
  for (const path of PATHS) {
    const headers = { "content-type": "application/json" };
    const { status, body: answer } = await client.ask(path, { method: "POST", body, headers });
    expect([status, answer.error.code]).toEqual([400, "invalid_json"]);
  }
});

test.each([
  ["a TLS handshake", "\x16\x03\x01\x00\xa5\x01"],
  ["zeros", "\0\0\0\0"],
  ["a line of text", "hello there\r\n\r\n"],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["an unknown version", "GET / HTTP/9.9\r\n\r\n"],
  ["a negative length", "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"],
])("the server answers bytes that are not HTTP with status 400 and closes the connection: %s", async (_, text) => {
  const socket = await rawSocket(server);
  socket.write(Buffer.from(text, "latin1"));
  const [head, body] = (await readAll(socket)).split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(JSON.parse(body!).error).toMatchObject({ type: "invalid_request_error", code: "bad_request" });
  await isThere();
});

test("the server survives any bytes on a connection, and sends nothing but HTTP", async () => {
  const line = fc.constantFrom(
    ...[
      "GET / HTTP/1.1\r\n",
      "POST /v1/completions HTTP/1.1\r\n",
      "host: localhost\r\n",
      "content-length: 5\r\n",
      "\r\n",
    ],
    ...[
      "content-length: -1\r\n",
      "content-length: 1, 2\r\n",
      "transfer-encoding: chunked\r\n",
      "fffffffffffffffff\r\n",
      "{}",
    ],
    ...[
      "GET /../../etc/passwd HTTP/1.1\r\n",
      "GET /v1/models/%zz HTTP/1.1\r\n",
      "GET /%00 HTTP/1.1\r\n",
      "host: a\r\nhost: b\r\n",
    ],
    ...[
      "content-type: application/json\r\n",
      "upgrade: websocket\r\nconnection: upgrade\r\n",
      "expect: 100-continue\r\n",
    ],
    ...[
      "CONNECT localhost:1 HTTP/1.1\r\n",
      "connection: close\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "expect: more\r\n",
    ],
  );
  const bytes = fc.uint8Array({ maxLength: 60 }).map((b) => Buffer.from(b).toString("latin1"));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(line, line, bytes), { maxLength: 12 }), async (parts) => {
      const socket = await rawSocket(server);
      socket.end(Buffer.from(parts.join(""), "latin1"));
      const timer = setTimeout(() => socket.destroy(), 200);
      const text = await readAll(socket);
      clearTimeout(timer);
      expect(text === "" || text.startsWith("HTTP/1.1 ")).toBe(true);
      expect(text).not.toContain("root:");
    }),
    { numRuns: 150 },
  );
  await isThere();
});
