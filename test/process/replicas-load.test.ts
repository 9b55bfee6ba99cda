// The clients of `npm run test:replicas`. Their results must name the reason of a failed answer.
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";

const { ask } = (await import(new URL("../../scripts/replicas/load.mjs", import.meta.url).href)) as {
  ask: (
    url: string,
    request: { key: string; body: object },
  ) => Promise<{ fate: string; ms: number; why: string; text: string }>;
};

let answer: (response: ServerResponse) => unknown;
let server: Server;
let url: string;
beforeAll(async () => {
  server = createServer((_, response) => answer(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

const request = (stream: boolean) => ask(url, { key: "k", body: { messages: [], stream } });
const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
const part = event({ choices: [{ delta: { content: "a" } }] });
const failure = event({ error: { message: "the model was unloaded" } });

test.each([
  ["a stream that ends after the server's error", `${part}${failure}`, "cut", "the model was unloaded"],
  ["an error before [DONE]", `${part}${failure}data: [DONE]\n\n`, "cut", "the model was unloaded"],
  ["an error before any text", failure, "lost", "the model was unloaded"],
  ["a stream that ends early", part, "cut", "the stream ended early"],
  ["a whole stream", `${part}data: [DONE]\n\n`, "whole", ""],
])("the result of %s says how the answer ended, and why", async (_, body, fate, why) => {
  answer = (response) => response.end(body);
  expect(await request(true)).toMatchObject({ fate, why });
});

test("a connection that breaks after the server's error keeps the error", async () => {
  answer = (response) => {
    response.write(`${part}${failure}`);
    setTimeout(() => response.destroy(), 100);
  };
  expect(await request(true)).toMatchObject({ fate: "cut", why: "the model was unloaded" });
  answer = (response) => response.destroy();
  expect(await request(true)).toMatchObject({ fate: "lost", why: expect.stringContaining("fetch failed") });
});

test("the time of a refused request is measured", async () => {
  answer = async (response) => {
    await sleep(50);
    response.writeHead(503).end("busy");
  };
  const { ms, ...result } = await request(false);
  expect(result).toMatchObject({ fate: "lost", why: "status 503: busy" });
  expect(ms).toBeGreaterThan(40);
});
