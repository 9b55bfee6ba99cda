// Connections that stay open between requests, as those of a proxy do, while the server closes.
import { afterAll, beforeAll, expect, test } from "vitest";
import { PieceStream } from "../../../lib/inference/piece-stream.ts";
import type { Scheduled } from "../../../lib/inference/shared-scheduler.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { deltas } from "../../../lib/serve/core/answer.ts";
import { endlessModel, type Json, rawPost, rawSocket, readAll, until, withServer } from "../helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await endlessModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

const COMPLETIONS = "/v1/completions";
const short = { prompt: "The cat", max_tokens: 200, temperature: 0 };
const endless = { ...short, max_tokens: 30_000 };

/** Splits a raw answer. */
function partsOf(text: string): { head: string; body: string } {
  const end = text.indexOf("\r\n\r\n");
  return { head: text.slice(0, end).toLowerCase(), body: text.slice(end + 4) };
}

test("an answer that ends while the server closes ends its connection, even if others still run", () =>
  withServer(model, {}, async ({ server, post }) => {
    const leaving = new AbortController();
    const long = post(COMPLETIONS, endless, { signal: leaving.signal }).catch((error: Error) => error.name);
    const whole = await rawSocket(server, rawPost(COMPLETIONS, short));
    const stream = await rawSocket(server, rawPost(COMPLETIONS, { ...short, stream: true }));
    await until(() => server.stats.running === 3, "all to begin");
    const begun = new Promise<Buffer>((resolve) => stream.once("data", resolve));
    stream.resume();
    const beginning = (await begun).toString();
    const closed = server.close(60_000);
    const [wholeText, streamText] = await Promise.all([readAll(whole), readAll(stream)]);
    expect(server.stats.running).toBe(1);
    // A proxy must not send its next request on a connection that is about to close.
    expect(partsOf(wholeText).head).toMatch(/^http\/1\.1 200 ok\r\n[\s\S]*\r\nconnection: close/);
    expect(JSON.parse(partsOf(wholeText).body).usage.completion_tokens).toBe(200);
    // The stream's headers were sent before the server began to close.
    expect(partsOf(beginning).head).toContain("connection: keep-alive");
    expect((beginning + streamText).trimEnd()).toMatch(/data: \[DONE\]\s*(0)?$/);
    leaving.abort();
    expect(await long).toBe("AbortError");
    await closed;
  }));

test("a request that arrives on an open connection while the server closes is rejected with Retry-After", () =>
  withServer(model, {}, async ({ server, post }) => {
    const long = post(COMPLETIONS, { ...endless, max_tokens: 1000 });
    const request = rawPost(COMPLETIONS, short);
    // The connection is not idle, so it is not closed at once.
    const late = await rawSocket(server, request.slice(0, 20));
    await until(() => server.stats.running === 1, "the answer to begin");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const closed = server.close(60_000);
    late.write(request.slice(20));
    const { head, body } = partsOf(await readAll(late));
    expect(head).toMatch(/^http\/1\.1 503 /);
    expect(head).toContain("\r\nretry-after: 1");
    expect(head).toContain("\r\nconnection: close");
    expect((JSON.parse(body) as Json).error).toMatchObject({ code: "unavailable", message: "server: shutting down" });
    expect((await long).status).toBe(200);
    await closed;
  }));

test.each([
  ["/v1/chat/completions", { messages: [{ role: "user", content: "The cat" }] }],
  [COMPLETIONS, { prompt: "The cat", echo: true }],
  ["/v1/responses", { input: "The cat" }],
  ["/v1/messages", { messages: [{ role: "user", content: "The cat" }], max_tokens: 9 }],
  ["/api/chat", { messages: [{ role: "user", content: "The cat" }] }],
])("a stream of %s that waits for a slot has sent nothing, so that a proxy can retry on another server", (path, body) =>
  withServer(model, { maxConcurrent: 1 }, async ({ server, post }) => {
    const first = post(COMPLETIONS, { ...endless, stream: true });
    await until(() => server.stats.tokens > 8, "the first answer to begin");
    const waiting = await rawSocket(server, rawPost(path, { ...body, stream: true }));
    const received = readAll(waiting);
    await until(() => server.stats.waiting === 1, "the second to wait");
    await server.close(0);
    // The first answer has begun, so its status was sent before the server closed.
    expect((await first).status).toBe(200);
    expect(partsOf(await received).head).toMatch(/^http\/1\.1 503 /);
  }),
);

test("an answer that is cancelled before its last text is read has no last part", async () => {
  const stream = new PieceStream(() => {});
  const piece = (text: string) => ({ text, token: 1, logprob: 0, index: 0 });
  const sequence = { options: { stopTokens: new Set() }, ids: [], promptLength: 0, generated: 2, finishReason: "stop" };
  const parts = deltas({ sequence, stream } as unknown as Scheduled, {});
  stream.push(piece("The "));
  expect((await parts.next()).value).toMatchObject({ text: "The " });
  stream.push({ ...piece("cat"), finishReason: "stop" });
  stream.end();
  stream.cancel(); // as at the end of `closeTimeout`
  expect(await parts.next()).toEqual({ value: undefined, done: true });
});
