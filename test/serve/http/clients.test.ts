// Clients that disconnect, do not read or are slow, and server shutdown.
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import type { RequestRecord } from "../../../lib/serve/index.ts";
import { leastOf } from "../../helpers/clock.ts";
import {
  type Client,
  chatModel,
  eventsIn,
  greedily,
  greedy,
  rawPost,
  rawSocket,
  readAll,
  until,
  user,
  withServer,
} from "../helpers.ts";

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

test("concurrent requests get the same answers as single ones", () =>
  withServer(model, { deterministic: true, maxConcurrent: 4 }, async (client) => {
    const prompts = Array.from({ length: 16 }, (_, i) =>
      `The ${["cat", "dog"][i % 2]} saw ${i} and ran home. `.repeat(1 + (i % 4)),
    );
    const alone = [];
    // Long enough that the requests overlap, even on a busy machine.
    const maxTokens = 150;
    for (const prompt of prompts)
      alone.push((await model.complete(prompt, { ...greedy, maxTokens, deterministic: true })).text);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, client.server.stats.running);
    }, 1);
    const answers = prompts.map(async (prompt, i) => {
      const body = { prompt, ...greedily, max_tokens: maxTokens };
      if (i % 3 === 0) {
        const events = await client.events(COMPLETIONS, body);
        return events.map((event) => event.choices[0].text).join("");
      }
      return (await client.post(COMPLETIONS, body)).body.choices[0].text;
    });
    expect(await Promise.all(answers)).toEqual(alone);
    clearInterval(watch);
    expect(most).toBeGreaterThan(1);
    expect(client.server.stats).toMatchObject({ running: 0, waiting: 0, answers: 0 });
  }));

test("a client that disconnects while its prompt is tokenized, or waits to be tokenized, frees its slots", () =>
  withServer(model, { maxConcurrent: 4, maxBodyBytes: 16 << 20 }, async (client) => {
    const { server } = client;
    // Tokenizing takes seconds: one endless word of unknown characters.
    const long = "\u8a9e".repeat(4_000_000);
    const bodies: [string, object][] = [
      [CHAT, { messages: user(long), n: 2 }],
      [COMPLETIONS, { prompt: long }],
      [CHAT, { messages: user(long) }],
    ];
    const posts = bodies.map(([path, body]) => rawPost(path, body));
    const attempt = async () => {
      // Hold back the last byte of each request, so that no prompt is tokenized before all have arrived.
      const sockets = await Promise.all(posts.map(() => rawSocket(server)));
      const written = (socket: Socket, text: string) => new Promise<void>((done) => socket.write(text, () => done()));
      await Promise.all(sockets.map((socket, i) => written(socket, posts[i]!.slice(0, -1))));
      for (const socket of sockets) socket.write("}");
      const all = await until(() => server.stats.answers === 4, "all four answers to begin", 3000).then(
        () => true,
        () => false, // on a busy machine the first may finish anyway, so retry
      );
      expect(server.stats).toMatchObject({ running: 0, waiting: 0 });
      // A short request does not wait for the long ones.
      expect((await client.post(CHAT, { messages: user("a"), ...greedily })).status).toBe(200);
      const held = all && server.stats.answers === 4;
      const before = performance.now();
      for (const socket of sockets) socket.destroy();
      await untilIdle(client);
      return held ? performance.now() - before : Number.POSITIVE_INFINITY;
    };
    expect(await leastOf(100, attempt)).toBeLessThan(100);
  }));

describe("a client that disconnects", () => {
  test.each([
    ["in the middle of a stream", { ...endless, stream: true }],
    ["while it waits for a whole answer", endless],
    ["during its prompt", { ...endless, prompt: Array.from({ length: 30_000 }, (_, i) => i % 320) }],
    ["with several answers", { ...endless, n: 4 }],
  ])("%s frees its slot within 100 ms", (_, body) =>
    withServer(model, { maxConcurrent: 4 }, async (client) => {
      const { server } = client;
      const attempt = async () => {
        const socket = await rawSocket(server, rawPost(COMPLETIONS, body));
        socket.resume();
        await until(() => server.stats.running > 0, "it to begin");
        await new Promise((resolve) => setTimeout(resolve, 30));
        expect(server.stats.running).toBeGreaterThan(0);
        const before = performance.now();
        socket.destroy();
        await until(() => server.stats.running === 0 && server.stats.answers === 0, "its slot to be free");
        return performance.now() - before;
      };
      expect(await leastOf(100, attempt)).toBeLessThan(100);
      // The next request gets its usual answer.
      const { text } = await model.complete("The cat saw", greedy);
      const next = await client.post(COMPLETIONS, { prompt: "The cat saw", ...greedily });
      expect(next.body.choices[0].text).toBe(text);
    }),
  );

  test("a client that disconnects while it is queued for a slot leaves the queue", () =>
    withServer(model, { maxConcurrent: 1 }, async (client) => {
      const { server } = client;
      const first = await rawSocket(server, rawPost(COMPLETIONS, endless));
      await until(() => server.stats.running === 1, "the first to begin");
      const second = await rawSocket(server, rawPost(COMPLETIONS, endless));
      await until(() => server.stats.waiting === 1, "the second to wait");
      second.destroy();
      await until(() => server.stats.waiting === 0, "the second to leave the queue");
      expect(server.stats).toMatchObject({ running: 1, answers: 1 });
      first.destroy();
      await untilIdle(client);
    }));

  test("a client that disconnects with a pipelined request frees the slots of both requests", async () => {
    const records: RequestRecord[] = [];
    await withServer(model, { onRequest: (record) => records.push(record) }, async (client) => {
      const socket = await rawSocket(client.server, rawPost(COMPLETIONS, endless).repeat(2));
      await until(() => client.server.stats.running === 2, "both to begin");
      socket.destroy();
      await untilIdle(client);
      expect(records.map(({ status }) => status)).toEqual([499, 499]);
    });
  });

  test("a client that disconnects while it sends its body or waits for embeddings frees its slot", () =>
    withServer(model, {}, async (client) => {
      const socket = await rawSocket(client.server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      await new Promise((resolve) => setTimeout(resolve, 20));
      socket.destroy();
      const input = Array.from({ length: 500 }, () => "The cat saw the sea ".repeat(20));
      const others = [];
      for (let i = 0; i < 4; i++) others.push(await rawSocket(client.server, rawPost("/v1/embeddings", { input })));
      await until(() => client.server.stats.answers === 4, "two to begin and two to wait");
      for (const other of others.reverse()) other.destroy();
      await untilIdle(client);
      expect((await client.post("/v1/embeddings", { input: "The cat" })).status).toBe(200);
    }));
});

describe("a client that does not read", () => {
  // About 20 MB, more than socket buffers hold.
  const wide = {
    ...{ messages: user("The cat"), max_tokens: 8000, temperature: 0, ignore_eos: true },
    ...{ stream: true, logprobs: true, top_logprobs: 20 },
  };

  test("pauses its answer, and gets all of it once it reads again", () =>
    withServer(model, {}, async (client) => {
      const { server } = client;
      const socket = await rawSocket(server, rawPost(CHAT, wide, ["connection: close"]));
      await until(() => server.stats.tokens > 0, "it to begin");
      const still = async () => {
        const before = server.stats.tokens;
        await new Promise((resolve) => setTimeout(resolve, 300));
        return server.stats.tokens === before;
      };
      let paused = false;
      for (let i = 0; i < 60 && !paused; i++) paused = await still();
      expect(paused).toBe(true);
      expect(server.stats.tokens).toBeLessThan(8000);
      // Other requests are answered meanwhile.
      const { text } = await model.complete("The cat saw", greedy);
      expect((await client.post(COMPLETIONS, { prompt: "The cat saw", ...greedily })).body.choices[0].text).toBe(text);
      const answer = await readAll(socket);
      const parts = answer.slice(answer.indexOf("\r\n\r\n") + 4).split("\r\n");
      const events = eventsIn(parts.filter((_, i) => i % 2 === 1).join(""));
      const count = events.flatMap((event) => event.choices[0].logprobs?.content ?? []).length;
      expect(count).toBe(8000);
      await untilIdle(client);
    }));

  test("is disconnected after the stall timeout", () =>
    withServer(model, { stallTimeout: 200 }, async (client) => {
      const socket = await rawSocket(client.server, rawPost(CHAT, wide));
      await until(() => client.server.stats.running === 1, "it to begin");
      await untilIdle(client);
      expect(client.server.stats.tokens).toBeLessThan(8000);
      socket.destroy();
    }));
});

test("a client that does not read does not delay shutdown", () =>
  withServer(model, {}, async ({ server }) => {
    const body = { ...endless, stream: true, logprobs: 20 };
    const socket = await rawSocket(server, rawPost(COMPLETIONS, body));
    await until(() => server.stats.tokens > 2000, "the system's buffers to fill");
    const before = performance.now();
    await server.close(100);
    expect(performance.now() - before).toBeLessThan(10_000); // stallTimeout is 30,000
    socket.destroy();
  }));

test("a large answer without streaming waits for a slow reader", () =>
  withServer(model, {}, async (client) => {
    const ids = Array.from({ length: 2000 }, (_, i) => [i % 320, 1]);
    const socket = await rawSocket(client.server, rawPost("/v1/embeddings", { input: ids }, ["connection: close"]));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const text = await readAll(socket);
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)).data).toHaveLength(2000);
    await untilIdle(client);
  }));

describe("slow clients", () => {
  test("are disconnected if their headers do not end", () =>
    withServer(model, { headersTimeout: 300 }, async ({ server }) => {
      const socket = await rawSocket(server, "GET /health HTTP/1.1\r\nhost: localhost\r\n");
      const drip = setInterval(() => socket.write("x-a: b\r\n"), 50);
      const answer = await readAll(socket);
      clearInterval(drip);
      expect(answer).toMatch(/^HTTP\/1.1 408 /);
      expect(JSON.parse(answer.slice(answer.indexOf("{")))).toMatchObject({ error: { code: "timeout" } });
    }));

  test("are disconnected if their body does not end", () =>
    withServer(model, { bodyTimeout: 300 }, async ({ server }) => {
      const socket = await rawSocket(server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 408 [\s\S]*"code":"timeout"/);
    }));

  test("do not delay shutdown if they send nothing", () =>
    // With this time limit for answers, the test ends only if the connection is not waited for.
    withServer(model, { closeTimeout: 86_400_000 }, async ({ server }) => {
      const socket = await rawSocket(server);
      await server.close();
      await readAll(socket);
    }));
});

describe("shutdown", () => {
  test("finishes running answers and accepts no new requests", () =>
    withServer(model, {}, async (client) => {
      const { server } = client;
      const body = { prompt: "The cat", max_tokens: 3000, temperature: 0, ignore_eos: true };
      const whole = client.post(COMPLETIONS, body);
      const stream = client.events(COMPLETIONS, body);
      const idle = await rawSocket(server, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
      await until(() => server.stats.running === 2, "both to begin");
      const closed = server.close();
      expect(server.close()).toBe(closed);
      await expect(fetch(`${server.url}/health`)).rejects.toThrow();
      const { status, body: answer } = await whole;
      expect([status, answer.usage.completion_tokens]).toEqual([200, 3000]);
      expect((await stream).map((event) => event.choices[0].text).join("")).toBe(answer.choices[0].text);
      await closed;
      await readAll(idle);
    }));

  test("aborts answers that take too long, and reports it", () =>
    withServer(model, {}, async (client) => {
      const { server } = client;
      const whole = client.post(COMPLETIONS, endless);
      const stream = client.post(COMPLETIONS, { ...endless, stream: true });
      const slow = await rawSocket(server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      await until(() => server.stats.running === 2, "both to begin");
      await server.close(50);
      expect(await whole).toMatchObject({
        status: 503,
        body: { error: { type: "server_error", code: "unavailable" } },
      });
      const text: string = (await stream).body;
      expect(JSON.parse(text.trimEnd().split("\n\n").at(-1)!.slice(6))).toMatchObject({
        error: { code: "unavailable" },
      });
      expect(text).not.toContain("[DONE]");
      expect(await readAll(slow)).toMatch(/^(HTTP\/1.1 503 |$)/);
      expect(server.stats).toMatchObject({ running: 0, waiting: 0, answers: 0 });
    }));

  test("answers running and later requests with 503 if the model is disposed", async () => {
    const own = await chatModel({ maxPositionEmbeddings: 32_768 });
    await withServer(own, {}, async (client) => {
      const whole = client.post(COMPLETIONS, endless);
      await until(() => client.server.stats.running === 1, "it to begin");
      await own.dispose();
      expect(await whole).toMatchObject({ status: 503 });
      expect(await client.post(CHAT, { messages: user("hi") })).toMatchObject({ status: 503 });
      expect((await client.ask("/health")).status).toBe(200);
    });
  });
});

test("a request with several answers fails if one of them fails", async () => {
  await using own = await chatModel();
  const table = own.model.weight("model.embed_tokens.weight");
  await table.write(new Float32Array(32).fill(Number.NaN), 5 * 32);
  await withServer(own, {}, async (client) => {
    // The first answer has no output yet when the second answer fails.
    const prompt = [Array.from({ length: 1000 }, (_, i) => 10 + (i % 200)), [5, 6]];
    const { status, body } = await client.post(COMPLETIONS, { prompt, ...greedily });
    expect([status, body.error.code]).toEqual([500, "numerical"]);
    await untilIdle(client);
  });
});
