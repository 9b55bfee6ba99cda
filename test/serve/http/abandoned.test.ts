// Clients that disconnect before their body is read, or while their response format is being compiled.
import { expect, test, vi } from "vitest";
import { attacks } from "../../constrain/attacks.ts";
import { chatModel, rawSocket, until, withServer } from "../helpers.ts";

const compilations = vi.hoisted(() => ({ all: [] as Promise<unknown>[] }));
vi.mock(import("../../../lib/constrain/index.ts"), async (original) => {
  const actual = await original();
  const compiledAhead: typeof actual.compiledAhead = (...given) => {
    const compilation = actual.compiledAhead(...given);
    compilations.all.push(compilation);
    compilation.catch(() => undefined);
    return compilation;
  };
  return { ...actual, compiledAhead };
});

const tracing = vi.hoisted(() => ({ found: undefined as (() => Promise<void>) | undefined, spans: 0 }));
vi.mock(import("../../../lib/serve/operations/tracing.ts"), async (original) => {
  const actual = await original();
  return {
    ...actual,
    async openTelemetry() {
      if (!tracing.found) return undefined;
      await tracing.found();
      return {} as never;
    },
    RequestSpan: class {
      constructor() {
        tracing.spans++;
      }
      end() {}
    } as never,
  };
});

test("a client that disconnects before its body is read ends its request, without a span", async () => {
  await using model = await chatModel();
  const statuses: number[] = [];
  await withServer(model, { onRequest: ({ status }) => statuses.push(status) }, async ({ server }) => {
    let asked = 0;
    tracing.found = async () => {
      asked++;
      await until(() => statuses.length > 0, "the end of the request");
    };
    try {
      const head = ["POST /v1/completions HTTP/1.1", "host: localhost", "content-type: application/json"];
      const socket = await rawSocket(server, [...head, "content-length: 100", "", "{"].join("\r\n"));
      await until(() => asked > 0, "the request");
      socket.destroy();
      await until(() => statuses.length > 0, "the end of the request");
      const started = performance.now();
      await server.close(0);
      expect(performance.now() - started).toBeLessThan(10_000);
    } finally {
      tracing.found = undefined;
    }
    expect([statuses, tracing.spans]).toEqual([[499], 0]);
  });
});

test("a client that disconnects stops the compilation of its schema", async () => {
  await using model = await chatModel();
  await withServer(model, {}, async (client) => {
    // Long compilations run one at a time, so the last one waits for seconds.
    const schema = attacks["anyOf of strings with different patterns"]!() as object;
    const controller = new AbortController();
    const requests = Array.from({ length: 6 }, (_, i) =>
      client.post(
        "/v1/chat/completions",
        {
          messages: [{ role: "user", content: "a" }],
          max_tokens: 4,
          response_format: { type: "json_schema", json_schema: { name: "a", schema: { ...schema, title: `${i}` } } },
        },
        { signal: controller.signal },
      ),
    );
    await vi.waitFor(() => expect(compilations.all.length).toBe(6), 5000);
    controller.abort();
    await Promise.allSettled(requests);
    const ended = await Promise.allSettled(compilations.all);
    expect(ended.map((one) => (one as PromiseRejectedResult).reason?.code)).toEqual(Array(6).fill("ABORTED"));
    const answer = await client.chat({ messages: [{ role: "user", content: "a" }], max_tokens: 2 });
    expect(answer.choices).toHaveLength(1);
  });
});
