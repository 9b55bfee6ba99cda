// Large bodies do not block the event loop, and are answered soon even if many arrive at once.
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { renderLimits } from "../../lib/tokenizer/chat/jinja/limits.ts";
import { leastOf, longestTurn, saysTurns } from "../helpers/clock.ts";
import { chatModel, rawPost, rawSocket, readAll, withServer } from "./helpers.ts";

const [CHAT, COMPLETIONS, EMBEDDINGS] = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];
const MOST_TURN = 50; // milliseconds
const BYTES = 4 << 20;

let model: LanguageModel;
beforeAll(async () => {
  // The context is so long that four megabytes of text are rendered and encoded before they are rejected.
  model = await chatModel({ maxPositionEmbeddings: 65_536 });
});
afterAll(() => model.dispose());

const filled = (item: string, bytes = BYTES - 200) =>
  `[${Array(Math.floor(bytes / (item.length + 1)))
    .fill(item)
    .join(",")}]`;
const chat = (messages: string, more = "") => `{"max_tokens":1,"messages":${messages}${more}}`;
const hi = '[{"role":"user","content":"hi"}]';
const calling = (json: string) =>
  `[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":${JSON.stringify(json)}}}]}]`;

const bodies: [string, string, string][] = [
  ["objects", CHAT, chat(hi, `,"metadata":${filled("{}")}`)],
  ["texts", CHAT, chat(hi, `,"metadata":${filled('""')}`)],
  ["token ids", COMPLETIONS, `{"prompt":${filled("1")}}`],
  ["inputs", EMBEDDINGS, `{"input":${filled('"a"')}}`],
  ["a long text", CHAT, chat(`[{"role":"user","content":"${"a <".repeat(1.3e6)}"}]`)],
  ["a text with many escapes", CHAT, chat(`[{"role":"user","content":"${"\\u0041".repeat(6.9e5)}"}]`)],
  [
    "messages with many parts",
    CHAT,
    chat(filled(`{"role":"user","content":${filled('{"type":"text","text":"abc"}', 25_000)}}`, 1.1e6)),
  ],
  ["arguments of a tool call", CHAT, chat(calling(`{"a":${filled("{}", 4e6)}}`))],
  ["template variables", CHAT, chat(hi, `,"chat_template_kwargs":{"toJSON":1,"a":${filled("{}", 380_000)}}`)],
];

describe.skipIf(!saysTurns)("large bodies", () => {
  test.each(bodies)("block the event loop for at most 50 ms: %s", (_, path, json) =>
    withServer(model, {}, async ({ server }) => {
      expect(Buffer.byteLength(json)).toBeLessThan(BYTES);
      const longest = await leastOf(MOST_TURN, () =>
        longestTurn(async () => {
          const socket = await rawSocket(server, post(path, json));
          expect(await readAll(socket)).toMatch(/^HTTP\/1.1 (200|400) /);
        }),
      );
      expect(longest).toBeLessThan(MOST_TURN);
    }),
  );

  // A chat template runs in one turn. Its time limit bounds that turn.
  test("block the event loop for less than the template's time limit with thousands of messages", () =>
    withServer(model, {}, async ({ server }) => {
      const json = chat(filled('{"role":"user","content":"abcdefghijklmnop"}', 180_000));
      const longest = await longestTurn(async () => {
        const socket = await rawSocket(server, post(CHAT, json));
        expect(await readAll(socket)).toMatch(/^HTTP\/1.1 (200|400) /);
      });
      expect(longest).toBeLessThan(renderLimits.milliseconds);
    }));

  test.each(bodies.slice(0, 4))(
    "are all answered without blocking the event loop if thirty arrive at once: %s",
    (_, path, json) =>
      withServer(model, { maxConcurrent: 4, maxQueue: 64 }, async ({ server }) => {
        let seconds = Number.POSITIVE_INFINITY;
        const ask = async () => {
          const before = process.cpuUsage();
          const statuses = await postedElsewhere(server.url + path, json, 30);
          expect(statuses).toHaveLength(30);
          for (const status of statuses) expect([200, 400]).toContain(status);
          seconds = Math.min(seconds, process.cpuUsage(before).user / 1e6);
        };
        const longest = await leastOf(MOST_TURN, () => longestTurn(ask), 3);
        console.log(`${longest.toFixed(0)} ms at most, ${seconds.toFixed(1)} s of processor time`);
        expect(longest).toBeLessThan(MOST_TURN);
        expect(seconds).toBeLessThan(8); // includes the client's work
      }),
  );
});

/** Sends concurrent requests from another thread, so that this thread's event loop runs only the server. @returns their statuses */
async function postedElsewhere(url: string, json: string, count: number): Promise<number[]> {
  const script = `
    const { parentPort, workerData: { url, json, count } } = require("node:worker_threads");
    const { request } = require("node:http");
    const body = Buffer.from(json);
    const headers = { "content-type": "application/json", "content-length": body.length };
    const post = () => new Promise((resolve, reject) => {
      request(url, { method: "POST", agent: false, headers }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      }).on("error", reject).end(body);
    });
    Promise.all(Array.from({ length: count }, post)).then((all) => parentPort.postMessage(all));`;
  const worker = new Worker(script, { eval: true, workerData: { url, json, count } });
  return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
}

function post(path: string, json: string): string {
  return rawPost(path, {}, ["connection: close"])
    .replace(/content-length: \d+/, `content-length: ${Buffer.byteLength(json)}`)
    .replace(/\{\}$/, () => json);
}
