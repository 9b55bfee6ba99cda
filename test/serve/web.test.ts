// createFetchHandler: a handler that takes a web-standard Request and returns a Response.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { createFetchHandler, type FetchHandlerOptions } from "../../lib/serve/index.ts";
import { chatModel, eventsIn, greedily, type Json, until, user, withServer } from "./helpers.ts";

const CHAT = "/v1/chat/completions";
const body = { messages: user("Hello"), ...greedily };

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

const handlerWith = (options: FetchHandlerOptions = {}) => createFetchHandler(model, { modelName: "tiny", ...options });

function post(path: string, value: unknown, init: RequestInit = {}): Request {
  const headers = { "content-type": "application/json", ...init.headers };
  return new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(value), ...init, headers });
}

test("A fetch handler answers as the server does", async () => {
  await using handler = handlerWith();
  const own = await handler(post(CHAT, body));
  const { choices, usage } = (await own.json()) as Json;
  await withServer(model, {}, async (client) => {
    const answer = await client.chat(body);
    expect({ choices, usage: { ...usage, prompt_tokens_details: 0 } }).toEqual({
      choices: answer.choices,
      usage: { ...answer.usage, prompt_tokens_details: 0 },
    });
  });
  expect(own.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(handler.stats).toMatchObject({ running: 0, answers: 0 });
});

test("A stream comes piece by piece", async () => {
  await using handler = handlerWith();
  const response = await handler(post(CHAT, { ...body, stream: true }));
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const pieces: string[] = [];
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) pieces.push(piece);
  expect(pieces.length).toBeGreaterThan(2);
  expect(eventsIn(pieces.join("")).length).toBeGreaterThan(2);
});

test("Errors have their status, headers and body", async () => {
  await using handler = handlerWith({ apiKeys: ["key"] });
  const refused = await handler(post(CHAT, body));
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toBe("Bearer");
  const headers = { authorization: "Bearer key" };
  const wrong = await handler(post(CHAT, { ...body, temperature: -1 }, { headers }));
  expect([wrong.status, ((await wrong.json()) as Json).error.param]).toEqual([400, "temperature"]);
  expect((await handler(new Request("http://localhost/nowhere", { headers }))).status).toBe(404);
  expect((await handler(new Request("http://elsewhere.example/health"))).status).toBe(403);
});

test("HEAD has the headers of GET and no body", async () => {
  await using handler = handlerWith();
  const response = await handler(new Request("http://localhost/v1/models", { method: "HEAD" }));
  expect([response.status, response.body]).toEqual([200, null]);
  expect(Number(response.headers.get("content-length"))).toBeGreaterThan(10);
});

test("A base path precedes the endpoints, and other paths are unknown", async () => {
  await using handler = handlerWith({ basePath: "/api/llm" });
  expect((await handler(post(`/api/llm${CHAT}`, body))).status).toBe(200);
  for (const path of [CHAT, `/api/llmx${CHAT}`, "/api/llm"])
    expect([path, (await handler(post(path, body))).status]).toEqual([path, 404]);
  expect((await handler(new Request("http://localhost/"))).status).toBe(404);
  expect((await handler(new Request("http://localhost/api/llm/"))).headers.get("content-type")).toMatch(/^text\/html/);
  for (const basePath of ["llm", "/llm/", "/a b", 1 as unknown as string])
    expect(() => handlerWith({ basePath })).toThrow(/basePath/);
});

const endless = { prompt: "The cat", max_tokens: 30_000, temperature: 0, ignore_eos: true, stream: true };

test("Cancelling the body ends the answer", async () => {
  await using handler = handlerWith();
  const response = await handler(post("/v1/completions", endless));
  const reader = response.body!.getReader();
  await reader.read();
  expect(handler.stats.answers).toBe(1);
  await reader.cancel();
  await until(() => handler.stats.answers === 0 && handler.stats.running === 0, "the answer to end");
});

test("Aborting the request ends the answer, before its headers and while it is read", async () => {
  await using handler = handlerWith();
  for (const stream of [false, true]) {
    const controller = new AbortController();
    const answer = handler(post("/v1/completions", { ...endless, stream }, { signal: controller.signal }));
    if (stream) {
      const reader = (await answer).body!.getReader();
      await reader.read();
      controller.abort();
      await expect(reader.read().then(() => reader.closed)).rejects.toThrow();
    } else {
      const rejected = expect(answer).rejects.toThrow(/aborted/);
      await until(() => handler.stats.running === 1, "the answer to begin");
      controller.abort();
      await rejected;
    }
    await until(() => handler.stats.answers === 0 && handler.stats.running === 0, "the answer to end");
  }
  const aborted = post(CHAT, body, { signal: AbortSignal.abort() });
  await expect(handler(aborted)).rejects.toThrow();
});

test("An answer waits for its reader, and ends if the reader stalls", async () => {
  const statuses: number[] = [];
  await using handler = handlerWith({ stallTimeout: 300, onRequest: ({ status }) => void statuses.push(status) });
  const response = await handler(post("/v1/completions", { ...endless, logprobs: 5 }));
  await until(() => handler.stats.answers === 0, "the answers to end");
  // The reader's buffer is full long before all requested tokens are generated.
  expect(handler.stats.tokens).toBeLessThan(2000);
  await expect(response.text()).rejects.toThrow();
  expect(statuses).toEqual([499]);
});

test("A body may be larger than a chunk, and a missing or broken one is refused", async () => {
  await using handler = handlerWith();
  const long = "a cat ".repeat(20_000);
  const asked = await handler(post(CHAT, { ...body, messages: user(long), max_tokens: 1 }));
  expect([asked.status, ((await asked.json()) as Json).error?.code]).toEqual([400, "context_length_exceeded"]);
  const headers = { "content-type": "application/json" };
  const url = `http://localhost${CHAT}`;
  expect((await handler(new Request(url, { method: "POST", headers }))).status).toBe(400);
  const broken = new ReadableStream({
    pull: (controller) => controller.error(new Error("lost")),
  });
  const init = { method: "POST", headers, body: broken, duplex: "half" } as RequestInit;
  expect((await handler(new Request(url, init))).status).toBe(400);
});

test("A request whose body was already read is rejected", async () => {
  await using handler = handlerWith();
  const request = post(CHAT, body);
  await request.text();
  await expect(handler(request)).rejects.toThrow();
});

test("After close() requests are refused", async () => {
  const handler = handlerWith();
  await handler.close();
  expect((await handler(post(CHAT, body))).status).toBe(503);
  await expect(handler({} as Request)).rejects.toThrow(/request: expected a Request/);
});
