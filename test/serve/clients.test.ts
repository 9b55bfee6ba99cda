// Clients that go away, do not read or are slow; and the server's end.
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import type { RequestRecord } from "../../lib/serve/index.ts";
import { leastOf } from "../helpers/clock.ts";
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
} from "./helpers.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";

/** Its answers are long enough that nobody waits for their end. */
let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel({ maxPositionEmbeddings: 32_768 });
});
afterAll(() => model.dispose());

const endless = { prompt: "The cat", max_tokens: 30_000, temperature: 0, ignore_eos: true };
const until0 = ({ server }: Client) => until(() => server.stats.answers === 0, "no answer to hold a place");

test("many requests at once answer as each alone", () =>
  withServer(model, { deterministic: true, maxConcurrent: 4 }, async (client) => {
    const prompts = Array.from({ length: 16 }, (_, i) =>
      `The ${["cat", "dog"][i % 2]} saw ${i} and ran home. `.repeat(1 + (i % 4)),
    );
    const alone = [];
    // Long enough that the clock below sees them side by side, whatever else the machine does.
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

test("a client that leaves while its prompt becomes ids, or waits for that, frees its places", () =>
  withServer(model, { maxConcurrent: 4, maxBodyBytes: 16 << 20 }, async (client) => {
    const { server } = client;
    // Seconds of work: the tokenizer knows none of its characters, and no word ends.
    const long = "\u8a9e".repeat(4_000_000);
    const bodies: [string, object][] = [
      [CHAT, { messages: user(long), n: 2 }],
      [COMPLETIONS, { prompt: long }],
      [CHAT, { messages: user(long) }],
    ];
    const posts = bodies.map(([path, body]) => rawPost(path, body));
    const attempt = async () => {
      // All but the last byte of each first: none is done with its prompt before the last of them has come.
      const sockets = await Promise.all(posts.map(() => rawSocket(server)));
      const written = (socket: Socket, text: string) => new Promise<void>((done) => socket.write(text, () => done()));
      await Promise.all(sockets.map((socket, i) => written(socket, posts[i]!.slice(0, -1))));
      for (const socket of sockets) socket.write("}");
      const all = await until(() => server.stats.answers === 4, "all to hold their places", 3000).then(
        () => true,
        () => false, // on a machine that is busy elsewhere the first may be done all the same: then once more
      );
      expect(server.stats).toMatchObject({ running: 0, waiting: 0 });
      // Who is short does not wait for them.
      expect((await client.post(CHAT, { messages: user("a"), ...greedily })).status).toBe(200);
      const held = all && server.stats.answers === 4;
      const before = performance.now();
      for (const socket of sockets) socket.destroy();
      await until0(client);
      return held ? performance.now() - before : Number.POSITIVE_INFINITY;
    };
    expect(await leastOf(100, attempt)).toBeLessThan(100);
  }));

describe("a client that goes away", () => {
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
      // And the model is there for the next one, whose answer is what it always was.
      const { text } = await model.complete("The cat saw", greedy);
      const next = await client.post(COMPLETIONS, { prompt: "The cat saw", ...greedily });
      expect(next.body.choices[0].text).toBe(text);
    }),
  );

  test("while it waits for a slot is forgotten", () =>
    withServer(model, { maxConcurrent: 1 }, async (client) => {
      const { server } = client;
      const first = await rawSocket(server, rawPost(COMPLETIONS, endless));
      await until(() => server.stats.running === 1, "the first to begin");
      const second = await rawSocket(server, rawPost(COMPLETIONS, endless));
      await until(() => server.stats.waiting === 1, "the second to wait");
      second.destroy();
      await until(() => server.stats.waiting === 0, "the second to be forgotten");
      expect(server.stats).toMatchObject({ running: 1, answers: 1 });
      first.destroy();
      await until0(client);
    }));

  test("while a request waits behind another of its connection gives the places of both", async () => {
    const records: RequestRecord[] = [];
    await withServer(model, { onRequest: (record) => records.push(record) }, async (client) => {
      const socket = await rawSocket(client.server, rawPost(COMPLETIONS, endless).repeat(2));
      await until(() => client.server.stats.running === 2, "both to begin");
      socket.destroy();
      await until0(client);
      expect(records.map(({ status }) => status)).toEqual([499, 499]);
    });
  });

  test("in the middle of its body, or of its embeddings", () =>
    withServer(model, {}, async (client) => {
      const socket = await rawSocket(client.server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      await new Promise((resolve) => setTimeout(resolve, 20));
      socket.destroy();
      const input = Array.from({ length: 500 }, () => "The cat saw the sea ".repeat(20));
      const others = [];
      for (let i = 0; i < 4; i++) others.push(await rawSocket(client.server, rawPost("/v1/embeddings", { input })));
      await until(() => client.server.stats.answers === 4, "two to begin and two to wait");
      for (const other of others.reverse()) other.destroy();
      await until0(client);
      expect((await client.post("/v1/embeddings", { input: "The cat" })).status).toBe(200);
    }));
});

describe("a client that does not read", () => {
  // Some 20 MB: more than the system's own buffers hold.
  const wide = {
    ...{ messages: user("The cat"), max_tokens: 8000, temperature: 0, ignore_eos: true },
    ...{ stream: true, logprobs: true, top_logprobs: 20 },
  };

  test("pauses its answer, and gets all of it when it reads again", () =>
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
      // Others are answered meanwhile.
      const { text } = await model.complete("The cat saw", greedy);
      expect((await client.post(COMPLETIONS, { prompt: "The cat saw", ...greedily })).body.choices[0].text).toBe(text);
      const answer = await readAll(socket);
      const parts = answer.slice(answer.indexOf("\r\n\r\n") + 4).split("\r\n");
      const events = eventsIn(parts.filter((_, i) => i % 2 === 1).join(""));
      const count = events.flatMap((event) => event.choices[0].logprobs?.content ?? []).length;
      expect(count).toBe(8000);
      await until0(client);
    }));

  test("is left after a while", () =>
    withServer(model, { stallTimeout: 200 }, async (client) => {
      const socket = await rawSocket(client.server, rawPost(CHAT, wide));
      await until(() => client.server.stats.running === 1, "it to begin");
      await until0(client);
      expect(client.server.stats.tokens).toBeLessThan(8000);
      socket.destroy();
    }));
});

test("a client that does not read does not hold up the server's end", () =>
  withServer(model, {}, async ({ server }) => {
    const body = { ...endless, stream: true, logprobs: 20 };
    const socket = await rawSocket(server, rawPost(COMPLETIONS, body));
    await until(() => server.stats.tokens > 2000, "the system's buffers to fill");
    const before = performance.now();
    await server.close(100);
    expect(performance.now() - before).toBeLessThan(10_000); // stallTimeout is 30,000
    socket.destroy();
  }));

test("an answer that is large and whole waits for its reader", () =>
  withServer(model, {}, async (client) => {
    const ids = Array.from({ length: 2000 }, (_, i) => [i % 320, 1]);
    const socket = await rawSocket(client.server, rawPost("/v1/embeddings", { input: ids }, ["connection: close"]));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const text = await readAll(socket);
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)).data).toHaveLength(2000);
    await until0(client);
  }));

describe("slow clients", () => {
  test("with headers that do not end", () =>
    withServer(model, { headersTimeout: 300 }, async ({ server }) => {
      const socket = await rawSocket(server, "GET /health HTTP/1.1\r\nhost: localhost\r\n");
      const drip = setInterval(() => socket.write("x-a: b\r\n"), 50);
      const answer = await readAll(socket);
      clearInterval(drip);
      expect(answer).toMatch(/^HTTP\/1.1 408 /);
      expect(JSON.parse(answer.slice(answer.indexOf("{")))).toMatchObject({ error: { code: "timeout" } });
    }));

  test("with a body that does not end", () =>
    withServer(model, { bodyTimeout: 300 }, async ({ server }) => {
      const socket = await rawSocket(server, rawPost(CHAT, { messages: user("hi") }).slice(0, -5));
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 408 [\s\S]*"code":"timeout"/);
    }));

  test("a connection that says nothing does not keep the server from ending", () =>
    withServer(model, {}, async ({ server }) => {
      const socket = await rawSocket(server);
      await server.close();
      await readAll(socket);
    }));
});

describe("the end", () => {
  test("lets answers end, and takes no more", () =>
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

  test("ends those that take too long, and says so", () =>
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

  test("of the model under it reaches the clients", async () => {
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

test("of several answers the failure of one is what is said, whatever the others had", async () => {
  await using own = await chatModel();
  const table = own.model.weight("model.embed_tokens.weight");
  await table.write(new Float32Array(32).fill(Number.NaN), 5 * 32);
  await withServer(own, {}, async (client) => {
    // The first has nothing yet when the second fails.
    const prompt = [Array.from({ length: 1000 }, (_, i) => 10 + (i % 200)), [5, 6]];
    const { status, body } = await client.post(COMPLETIONS, { prompt, ...greedily });
    expect([status, body.error.code]).toEqual([500, "numerical"]);
    await until0(client);
  });
});
