// The rules of the server hold at every endpoint, and its errors have the form of the endpoint's API.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { createFetchHandler, type FetchHandler, type FetchHandlerOptions } from "../../lib/serve/index.ts";
import { endlessModel, type Json, until, user } from "./helpers.ts";

/** A small request for each path that takes POST requests. */
const REQUESTS: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { messages: user("a") },
  "/v1/completions": { prompt: "a" },
  "/v1/embeddings": { input: "a" },
  "/v1/responses": { input: "a" },
  "/v1/responses/input_tokens": { input: "a" },
  "/v1/messages": { messages: user("a"), max_tokens: 9 },
  "/v1/messages/count_tokens": { messages: user("a") },
  "/api/chat": { messages: user("a"), stream: false },
  "/api/generate": { prompt: "a", stream: false },
  "/api/embed": { input: "a" },
  "/api/embeddings": { prompt: "a" },
  "/api/show": {},
  "/v1/rerank": { query: "a", documents: ["b"] },
  "/v2/rerank": { query: "a", documents: ["b"] },
  "/rerank": { query: "a", documents: ["b"] },
  "/v1/score": { text_1: "a", text_2: "b" },
  "/score": { text_1: "a", text_2: "b" },
  "/v1/classify": { input: "a" },
  "/classify": { input: "a" },
  "/tokenize": { prompt: "a" },
  "/detokenize": { tokens: [1] },
  "/infill": { input_prefix: "a" },
  "/embed": { inputs: "a" },
  "/models/tiny/pipeline/feature-extraction": { inputs: "a" },
};
/** Paths that refuse every request, because the models are fixed when the server starts. */
const REFUSING = ["/api/pull", "/api/push", "/api/create", "/api/copy"];

/** The form of an API's errors. */
function errorOf(path: string): object {
  const message = expect.any(String);
  if (path.startsWith("/v1/messages"))
    return { type: "error", error: { type: message, message }, request_id: expect.any(String) };
  if (path.startsWith("/api/")) return { error: message };
  if (path === "/embed" || path.startsWith("/models/")) return { error: message, error_type: "Validation" };
  return { error: { message, type: message, code: message } };
}

let model: LanguageModel;
beforeAll(async () => {
  model = await endlessModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

type Init = Omit<RequestInit, "body"> & { host?: string; body?: object | string };

async function send(handler: FetchHandler, path: string, { host = "localhost", body, ...init }: Init = {}) {
  const request = new Request(`http://${host}${path}`, {
    ...{ method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), ...init },
    headers: { "content-type": "application/json", ...init.headers },
  });
  const response = await handler(request);
  return { status: response.status, body: (await response.json()) as Json };
}

const handlerWith = (options: FetchHandlerOptions) => createFetchHandler(model, { modelName: "tiny", ...options });

test("the tests cover every path that takes POST requests", async () => {
  await using handler = handlerWith({});
  const { error } = (await send(handler, "/v1/nothing", { body: {} })).body;
  const [known] = error.message.split(", got ");
  const paths = [...known.matchAll(/POST (\S+?)(?=,|$)/g)].map(([, path]) => path.replace(":model", "tiny"));
  expect(paths.sort()).toEqual([...Object.keys(REQUESTS), ...REFUSING].sort());
});

describe.each(Object.entries(REQUESTS))("%s", (path, body) => {
  test("needs a key, an allowed host and origin, a small JSON body, a known model and POST", async () => {
    await using handler = handlerWith({ apiKeys: ["secret"], maxBodyBytes: 4096 });
    const headers = { authorization: "Bearer secret" };
    const other = path.replace("/tiny/", "/other/");
    // text-embeddings-inference serves one model, and its requests name none.
    const unknown = path === "/embed" ? 400 : 404;
    const cases: [status: number, path: string, init: Init][] = [
      [401, path, { body }],
      [401, path, { body, headers: { authorization: "Bearer other" } }],
      [403, path, { body, headers, host: "evil.example" }],
      [403, path, { body, headers: { ...headers, origin: "https://evil.example" } }],
      [415, path, { body: JSON.stringify(body), headers: { ...headers, "content-type": "text/plain" } }],
      [400, path, { body: "{", headers }],
      [400, path, { body: [], headers }],
      [413, path, { body: { ...body, user: "a".repeat(5000) }, headers }],
      [unknown, other, { body: other === path ? { ...body, model: "other" } : body, headers }],
      [405, path, { method: "PUT", body, headers }],
    ];
    for (const [status, at, init] of cases)
      expect({ init, ...(await send(handler, at, init)) }).toMatchObject({ init, status, body: errorOf(path) });
    expect(handler.stats).toMatchObject({ running: 0, waiting: 0, answers: 0 });
  });
});

test("a full queue refuses every request that computes, before its body is read", async () => {
  await using handler = handlerWith({ maxConcurrent: 1, maxQueue: 0 });
  const leaving = new AbortController();
  const first = send(handler, "/v1/completions", {
    body: { prompt: "a", max_tokens: 30_000 },
    signal: leaving.signal,
  }).catch(() => "left");
  await until(() => handler.stats.running === 1, "the first answer to begin");
  for (const path of Object.keys(REQUESTS)) {
    // The description of a model takes no place in the queue.
    const isFree = path === "/api/show";
    const { status, body } = await send(handler, path, { body: isFree ? { model: "tiny" } : {} });
    expect({ path, status }).toEqual({ path, status: isFree ? 200 : 429 });
    if (!isFree) expect(body).toMatchObject(errorOf(path));
  }
  leaving.abort();
  expect(await first).toBe("left");
});

test.each<[string, (answer: Json) => number]>([
  ["/v1/chat/completions", (answer) => answer.usage.completion_tokens],
  ["/v1/completions", (answer) => answer.usage.completion_tokens],
  ["/v1/responses", (answer) => answer.usage.output_tokens],
  ["/v1/messages", (answer) => answer.usage.output_tokens],
  ["/api/chat", (answer) => answer.eval_count],
  ["/api/generate", (answer) => answer.eval_count],
])("an answer of %s has at most the server's maximum number of tokens", async (path, tokensOf) => {
  await using handler = handlerWith({ maxTokens: 3 });
  expect(tokensOf((await send(handler, path, { body: REQUESTS[path]! })).body)).toBe(3);
});
