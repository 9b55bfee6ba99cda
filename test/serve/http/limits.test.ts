// Limits of the server: body size, concurrent answers, tokens, header size and pipelined requests.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type Client, chatModel, greedily, rawPost, rawSocket, readAll, until, user, withServer } from "../helpers.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

/** A request whose answer takes longer than any test. */
const endless = { prompt: "The cat", max_tokens: 30_000, temperature: 0, ignore_eos: true };
const untilIdle = ({ server }: Client) => until(() => server.stats.answers === 0, "all answers to finish");

describe("limits", () => {
  test("bodies that are too large are rejected by content-length and while being read", () =>
    withServer(model, { maxBodyBytes: 10_000 }, async (client) => {
      const { server } = client;
      const large = { messages: user("x".repeat(10_000)) };
      for (let i = 0; i < 3; i++)
        expect(await client.post(CHAT, large)).toMatchObject({
          status: 413,
          body: { error: { code: "request_too_large" } },
        });
      const claimed = await rawSocket(
        server,
        `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{`,
      );
      claimed.resume();
      await new Promise<void>((resolve) =>
        claimed.once("data", (part) => {
          expect(String(part)).toMatch(/ 413 /);
          resolve();
        }),
      );
      // An endless body is cut off.
      const head = `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`;
      const chunked = await rawSocket(server, head);
      const part = `10000\r\n${"x".repeat(0x10000)}\r\n`;
      let sent = 0;
      const closed = readAll(chunked);
      while (!chunked.closed && sent < 1000) {
        sent++;
        if (!chunked.write(part))
          await Promise.race([closed, new Promise((resolve) => chunked.once("drain", resolve))]);
      }
      expect(sent).toBeLessThan(1000);
      expect(await closed).toMatch(/^HTTP\/1.1 413 /);
      claimed.destroy();
      expect((await client.post(CHAT, { messages: user("hi"), max_tokens: 1 })).status).toBe(200);
    }));

  test("the total size of all bodies is limited", () =>
    withServer(model, { maxBodyBytes: 100_000 }, async (client) => {
      const { server } = client;
      const part = `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n{"a":"`;
      const sockets = [];
      for (let i = 0; i < 17; i++) sockets.push(await rawSocket(server, part + "x".repeat(99_000)));
      const ends = sockets.map(
        (socket) => new Promise<string>((resolve) => socket.once("data", (data) => resolve(String(data)))),
      );
      for (const socket of sockets) socket.resume();
      expect(await Promise.race(ends)).toMatch(/^HTTP\/1.1 503 [\s\S]*"code":"unavailable"/);
      for (const socket of sockets) socket.destroy();
      await until(() => server.stats.answers === 0, "all answers to finish");
      expect((await client.post(CHAT, { messages: user("hi"), max_tokens: 1 })).status).toBe(200);
    }));

  test("requests beyond the queue get a 429 with retry-after", () =>
    withServer(model, { maxConcurrent: 2, maxQueue: 1 }, async (client) => {
      const { server } = client;
      const sockets = [];
      for (let i = 0; i < 3; i++) sockets.push(await rawSocket(server, rawPost(COMPLETIONS, endless)));
      await until(() => server.stats.running === 2 && server.stats.waiting === 1, "two to begin and one to wait");
      for (const [path, body] of [
        [COMPLETIONS, endless],
        [CHAT, { messages: user("hi"), stream: true }],
        ["/v1/embeddings", { input: "a" }],
      ] as const) {
        const refused = await client.post(path, body);
        expect(refused).toMatchObject({
          status: 429,
          body: { error: { type: "rate_limit_error", code: "queue_full" } },
        });
        expect(refused.headers.get("retry-after")).toBe("1");
      }
      // A request is rejected before its whole body has arrived.
      const early = await rawSocket(server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      early.resume();
      expect(await new Promise((resolve) => early.once("data", (data) => resolve(String(data))))).toMatch(/ 429 /);
      early.destroy();
      expect((await client.ask("/health")).status).toBe(200);
      for (const socket of sockets) socket.destroy();
      await untilIdle(client);
      // A request for more answers than slots is served if it is alone.
      expect((await client.post(COMPLETIONS, { ...greedily, prompt: "a", n: 6 })).body.choices).toHaveLength(6);
    }));

  test("the smaller of the server's and the request's token limits applies", () =>
    withServer(model, { maxTokens: 5 }, async (client) => {
      for (const more of [{}, { max_tokens: 50 }, { max_completion_tokens: 50 }])
        expect((await client.chat({ messages: user("hi"), ignore_eos: true, ...more })).usage.completion_tokens).toBe(
          5,
        );
      expect(
        (await client.chat({ messages: user("hi"), ignore_eos: true, max_tokens: 3 })).usage.completion_tokens,
      ).toBe(3);
    }));

  test("headers that are too large are rejected", () =>
    withServer(model, {}, async ({ server }) => {
      const socket = await rawSocket(
        server,
        `GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(40_000)}\r\n\r\n`,
      );
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 431 /);
    }));

  test("invalid HTTP after a request does not corrupt that request's answer", () =>
    withServer(model, {}, async (client) => {
      const socket = await rawSocket(client.server, rawPost(COMPLETIONS, { ...endless, stream: true }));
      await until(() => client.server.stats.tokens > 10, "an answer to begin");
      socket.write("no HTTP\r\n\r\n");
      const text = await readAll(socket);
      expect(text).toMatch(/^HTTP\/1.1 200 /);
      expect(text).not.toContain("HTTP/1.1 400");
      await untilIdle(client);
    }));

  test("answers every pipelined request with 200 or 429", () =>
    withServer(model, { maxConcurrent: 2, maxQueue: 4 }, async (client) => {
      const { server } = client;
      // The first six take all places, and are long enough that the others arrive before one of them ends.
      const first = rawPost(COMPLETIONS, { prompt: "The", ...greedily, max_tokens: 500 });
      const later = rawPost(COMPLETIONS, { prompt: "The", ...greedily });
      const last = rawPost(COMPLETIONS, { prompt: "The", ...greedily }, ["connection: close"]);
      const socket = await rawSocket(server, first.repeat(6) + later.repeat(24) + last);
      const answers = (await readAll(socket)).split("HTTP/1.1 ").slice(1);
      const statuses = answers.map((answer) => answer.slice(0, 3));
      expect(statuses).toEqual([...Array(6).fill("200"), ...Array(25).fill("429")]);
      await untilIdle(client);
    }));
});
