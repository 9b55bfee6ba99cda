// Events arrive complete and in order. Large ones are written part by part.
import { createServer, get, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { EventStream, JSON_LINES, NAMED_EVENTS, UNNAMED_EVENTS } from "../../../lib/serve/http/event-stream.ts";

/** Runs `work` with a response, and `read` with what its client gets. */
async function exchanged<T>(
  work: (response: ServerResponse) => Promise<void>,
  read: (incoming: IncomingMessage) => Promise<T>,
): Promise<T> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const writing = new Promise<void>((resolve, reject) =>
    server.once("request", (_, response: ServerResponse) => {
      response.on("error", () => {});
      work(response).then(resolve, reject);
    }),
  );
  const incoming = await new Promise<IncomingMessage>((resolve, reject) =>
    get({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", agent: false }, resolve).on("error", reject),
  );
  try {
    const [result] = await Promise.all([read(incoming), writing]);
    return result;
  } finally {
    server.close();
  }
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of incoming.setEncoding("utf8")) text += part;
  return text;
}

const waiting = () => ({ stallTimeout: 30_000, signal: new AbortController().signal });
const large = { type: "large", items: Array.from({ length: 50_000 }, (_, i) => ({ i, text: "\u65e5" })) };
const small = { type: "small", a: 1 };

test.each([
  ["named", NAMED_EVENTS, (event: { type: string }) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`],
  ["unnamed", UNNAMED_EVENTS, (event: object) => `data: ${JSON.stringify(event)}\n\n`],
  ["JSON lines", JSON_LINES, (event: object) => `${JSON.stringify(event)}\n`],
])("large and small events have the same form: %s", async (_, format, written) => {
  const text = await exchanged(async (response) => {
    const events = new EventStream(response, waiting(), format);
    await events.send([small, small]);
    await events.sendLarge(large);
    await events.end(small);
  }, textOf);
  expect(text).toBe([small, small, large, small].map(written).join(""));
});

test("a large event is written in parts of about 64 KB, and none while the buffer is full", async () => {
  const sizes: number[] = [];
  const full: boolean[] = [];
  const text = await exchanged(async (response) => {
    const write = response.write.bind(response) as (part: string | Uint8Array) => boolean;
    response.write = (part: string | Uint8Array) => {
      full.push(response.writableNeedDrain);
      sizes.push(part.length);
      return write(part);
    };
    const events = new EventStream(response, waiting());
    await events.sendLarge(large);
    await events.end();
  }, textOf);
  const parts = sizes.slice(1, -1);
  expect(parts.length).toBeGreaterThan(10);
  for (const size of parts.slice(0, -1)) expect(size).toBeGreaterThanOrEqual(64 << 10);
  for (const size of parts) expect(size).toBeLessThan(80 << 10);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(Buffer.byteLength(text));
  expect(full).not.toContain(true);
});

test("a failure before the first event leaves the response to the caller", async () => {
  const status = await exchanged(
    async (response) => {
      new EventStream(response, waiting()).fail({ type: "error" });
      expect([response.headersSent, response.writableEnded]).toEqual([false, false]);
      response.writeHead(503).end();
    },
    async (incoming) => incoming.resume().statusCode,
  );
  expect(status).toBe(503);
});

test("a failure sends its own events and ends the stream", async () => {
  const text = await exchanged(async (response) => {
    const events = new EventStream(response, waiting(), NAMED_EVENTS);
    await events.send([small]);
    events.fail({ type: "error" }, { type: "failed" });
  }, textOf);
  expect(text.match(/^event: .*$/gm)).toEqual(["event: small", "event: error", "event: failed"]);
});

test("a failure within a large event closes the connection, because no event can follow", async () => {
  const controller = new AbortController();
  const huge = { type: "huge", items: Array.from({ length: 400_000 }, () => "0123456789abcdef".repeat(4)) };
  const read = exchanged(
    async (response) => {
      const events = new EventStream(response, { stallTimeout: 30_000, signal: controller.signal }, NAMED_EVENTS);
      const sent = events.sendLarge(huge);
      // The client does not read yet, so the buffers fill up.
      const watch = setInterval(() => {
        if (response.writableNeedDrain) controller.abort(new Error("closing"));
      }, 5);
      await expect(sent).rejects.toThrow("closing");
      clearInterval(watch);
      events.fail({ type: "error" });
    },
    async (incoming) => {
      // The client does not read before the failure, so that the server must wait for it.
      const { signal } = controller;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return textOf(incoming);
    },
  );
  await expect(read).rejects.toMatchObject({ code: "ECONNRESET" });
});
