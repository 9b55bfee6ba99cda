// The request handler in custom servers, and listeners of `onRequest`.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { createHandler, type RequestRecord } from "../../lib/serve/index.ts";
import {
  type Client,
  chatModel,
  greedily,
  greedy,
  type Json,
  rawPost,
  rawSocket,
  until,
  withServer,
} from "./helpers.ts";

const COMPLETIONS = "/v1/completions";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

const endless = { prompt: "The cat", max_tokens: 30_000, temperature: 0, ignore_eos: true };

test("an onRequest listener that fails, synchronously or later, does not affect the server", async () => {
  const unheard: unknown[] = [];
  const note = (reason: unknown) => unheard.push(reason);
  process.on("unhandledRejection", note);
  try {
    for (const onRequest of [
      () => Promise.reject(new Error("later")),
      () => {
        throw new Error("at once");
      },
    ])
      await withServer(model, { onRequest }, async ({ ask }) => {
        expect((await ask("/health")).status).toBe(200);
      });
    await new Promise((resolve) => setTimeout(resolve, 20));
  } finally {
    process.off("unhandledRejection", note);
  }
  expect(unheard).toEqual([]);
});

test("the handler works after body parsers and below a path prefix", async () => {
  await using handler = createHandler(model, { modelName: "tiny" });
  // Parses bodies before the handler runs, as Express does.
  const parsers: Record<string, (text: string) => unknown> = {
    json: (text) => JSON.parse(text),
    raw: (text) => Buffer.from(text),
    text: (text) => text,
    none: () => undefined,
  };
  const own = createServer(async (request, response) => {
    const [, , kind = ""] = request.url!.split("/");
    let text = "";
    for await (const part of request) text += part;
    Object.assign(request, { body: parsers[kind]!(text), url: request.url!.slice(`/llm/${kind}`.length) });
    handler(request, response);
  });
  await new Promise<void>((resolve) => own.listen(0, "127.0.0.1", resolve));
  const at = `http://127.0.0.1:${(own.address() as AddressInfo).port}/llm`;
  const post = async (kind: string, body: unknown) => {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`${at}/${kind}${COMPLETIONS}`, init);
    return { status: response.status, body: (await response.json()) as Json };
  };
  const { text } = await model.complete("The cat", greedy);
  for (const kind of ["json", "raw", "text"]) {
    const { body } = await post(kind, { prompt: "The cat", ...greedily });
    expect(body.choices[0].text, kind).toBe(text);
    const deep = await post(kind, { prompt: JSON.parse("[".repeat(70) + "]".repeat(70)) });
    expect(deep).toMatchObject({ status: 400, body: { error: { code: "invalid_json" } } });
    expect(await post(kind, ["a"])).toMatchObject({ status: 400, body: { error: { code: "invalid_json" } } });
  }
  expect((await post("none", { prompt: "a" })).body.error.message).toContain("has already been read");
  own.closeAllConnections();
  await new Promise<void>((resolve) => own.close(() => resolve()));
});

test("the handler works in a custom server with other paths, and records answers and abandoned answers", async () => {
  const records: RequestRecord[] = [];
  const onRequest = (record: RequestRecord) => {
    records.push(record);
    throw new Error("mine");
  };
  await using handler = createHandler(model, { modelName: "tiny", onRequest });
  const own = createServer((request, response) => {
    if (request.url?.startsWith("/v1/")) handler(request, response);
    else response.end("own");
  });
  await new Promise<void>((resolve) => own.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  expect(await (await fetch(`${url}/page`)).text()).toBe("own");
  const init = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "The cat", ...greedily }),
  };
  const answer: Json = await (await fetch(`${url}${COMPLETIONS}?secret=1`, init)).json();
  expect(answer.choices[0].text).toBe((await model.complete("The cat", greedy)).text);
  const socket = await rawSocket({ url } as Client["server"], rawPost(COMPLETIONS, endless));
  await until(() => handler.stats.running === 1 && handler.stats.tokens > 30, "tokens of the endless completion");
  socket.destroy();
  await until(() => records.length === 2, "both records");
  expect(records[0]).toEqual({
    ...{ method: "POST", path: COMPLETIONS, status: 200, ms: expect.any(Number) },
    ...{ requestId: expect.any(String), model: "tiny", firstTokenMs: expect.any(Number), tokenMs: expect.any(Number) },
    ...{ promptTokens: answer.usage.prompt_tokens, cachedTokens: 0, completionTokens: 24 },
  });
  // The tokens of an abandoned answer count.
  expect(records[1]).toMatchObject({ status: 499, model: "tiny", promptTokens: expect.any(Number) });
  expect(records[1]!.completionTokens).toBeGreaterThan(0);
  await handler.close();
  expect((await fetch(`${url}${COMPLETIONS}`, init)).status).toBe(503);
  own.closeAllConnections();
  await new Promise<void>((resolve) => own.close(() => resolve()));
});
