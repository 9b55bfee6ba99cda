// Endpoints and hooks for those who run the server: health, metrics, request ids, traces.
import type { ServerResponse } from "node:http";
import { context, propagation, SpanKind, type TextMapPropagator, type Tracer, trace } from "@opentelemetry/api";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { HeddleError } from "../../lib/core/errors.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import type { Exchange } from "../../lib/serve/core/context.ts";
import { checkedSources } from "../../lib/serve/core/model-source.ts";
import { type ModelStatus, Models } from "../../lib/serve/core/models.ts";
import { optionalPackage } from "../../lib/serve/core/optional.ts";
import { type RequestRecord, serve } from "../../lib/serve/index.ts";
import { operations } from "../../lib/serve/operations/dialect.ts";
import { Metrics } from "../../lib/serve/operations/metrics.ts";
import { failureOf } from "../inference/helpers.ts";
import { chatModel, clientOf, greedily, until, user, withServer } from "./helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const CHAT = "/v1/chat/completions";
const body = { messages: user("The cat"), ...greedily };

/** Parses the text of /metrics. Returns its samples by name with labels. */
function samples(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

describe("/metrics", () => {
  test("counts tokens and times by model, and requests by endpoint", () =>
    withServer(model, {}, async ({ ask, chat, post, events }) => {
      const { usage } = await chat(body);
      const streamed = (await events(CHAT, { ...body, stream_options: { include_usage: true } })).at(-1).usage;
      await post("/v1/embeddings", { input: [1, 2, 3] });
      await post(CHAT, { ...body, model: "other" });
      await ask("/nowhere");
      const { status, headers, body: text } = await ask("/metrics");
      expect([status, headers.get("content-type")]).toEqual([
        200,
        expect.stringMatching(/^text\/plain; version=0\.0\.4/),
      ]);
      const found = samples(text);
      const of = (name: string) => found.get(`${name}{model_name="tiny"}`);
      expect(of("vllm:prompt_tokens_total")).toBe(2 * usage.prompt_tokens + 3);
      expect(of("vllm:generation_tokens_total")).toBe(48);
      // The embeddings' three tokens are not looked up in the prefix cache.
      expect(of("vllm:prefix_cache_queries_total")).toBe(2 * usage.prompt_tokens);
      expect(streamed.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
      expect(of("vllm:prefix_cache_hits_total")).toBe(streamed.prompt_tokens_details.cached_tokens);
      expect(of("vllm:time_to_first_token_seconds_count")).toBe(2);
      expect(of("vllm:time_per_output_token_seconds_count")).toBe(2);
      expect(of("vllm:e2e_request_latency_seconds_count")).toBe(3);
      const duration = of("vllm:e2e_request_latency_seconds_sum")!;
      expect(of("vllm:time_to_first_token_seconds_sum")!).toBeLessThanOrEqual(duration);
      expect(of("vllm:num_requests_running")).toBe(0);
      expect(of("vllm:num_requests_waiting")).toBe(0);
      expect(of("vllm:kv_cache_usage_perc")).toBe(0);
      expect(of("heddle:model_loaded")).toBe(1);
      const requests = (path: string, code: number) =>
        found.get(`heddle:requests_total{path="${path}",status="${code}"}`);
      expect([requests(CHAT, 200), requests(CHAT, 404), requests("other", 404)]).toEqual([2, 1, 1]);
    }));

  test("shows running and waiting sequences, and how much of the cache they take", () =>
    withServer(model, { maxConcurrent: 1 }, async ({ ask, post, server }) => {
      const long = { ...body, max_tokens: 600 };
      const answers = Promise.all([1, 2].map(() => post(CHAT, long)));
      await until(() => server.stats.running === 1 && server.stats.waiting === 1, "a full server");
      const found = samples((await ask("/metrics")).body);
      const of = (name: string) => found.get(`${name}{model_name="tiny"}`);
      expect([of("vllm:num_requests_running"), of("vllm:num_requests_waiting")]).toEqual([1, 1]);
      expect(of("vllm:kv_cache_usage_perc")).toBeGreaterThan(0);
      expect(of("vllm:kv_cache_usage_perc")).toBeLessThanOrEqual(1);
      await answers;
    }));

  test("lists running and waiting adapters of each base", async () => {
    const sources = checkedSources([{ name: "base", model, adapters: { red: "/nowhere", blue: "/nowhere" } }]);
    const models = new Models(sources, { slots: 1, deterministic: false, maxWaiting: 1 });
    const load = { running: 1, waiting: 2, tokens: 0, cacheUsage: 0.25 };
    const all = models.all.map((one) => (one.name === "red" ? { ...one, load } : one));
    const { body: text } = (await new Metrics({ all } as Models).text())!;
    const line = text.split("\n").find((one) => one.startsWith("vllm:lora_requests_info{"))!;
    for (const label of [
      'max_lora="2"',
      'running_lora_adapters="red"',
      'waiting_lora_adapters="red"',
      'model_name="base"',
    ])
      expect(line).toContain(label);
    expect(Math.abs(Number(line.split(" ").at(-1)) - Date.now() / 1000)).toBeLessThan(60);
    expect(samples(text).get('vllm:kv_cache_usage_perc{model_name="base"}')).toBe(0.25);
    await models.close();
  });

  test("needs a key, unless an option says otherwise", async () => {
    await withServer(model, { apiKeys: ["k"] }, async ({ ask }) => {
      expect((await ask("/metrics")).status).toBe(401);
      expect((await ask("/metrics", { headers: { authorization: "Bearer k" } })).status).toBe(200);
    });
    await withServer(model, { apiKeys: ["k"], metricsWithoutKey: true }, async ({ ask }) => {
      expect((await ask("/metrics")).status).toBe(200);
      expect((await ask("/v1/models")).status).toBe(401);
    });
    expect(await failureOf(() => serve(model, { metricsWithoutKey: 1 as never }))).toMatchObject({
      message: expect.stringMatching(/^metricsWithoutKey: /),
    });
  });

  test("/metrics without prom-client gives an error that names the package", async () => {
    expect(await optionalPackage("heddle-no-such-package")).toBeUndefined();
    const metrics = new Metrics({ all: [] as ModelStatus[] } as Models, "heddle-no-such-package");
    expect(await metrics.text()).toBeUndefined();
    metrics.observe({ requestId: "a", method: "GET", path: "/", status: 200, ms: 1 }, undefined);
    const response = {} as ServerResponse;
    const { endpoint } = operations.routes.find(({ path }) => path === "/metrics")!;
    const exchange = { response, service: { metrics } } as unknown as Exchange;
    expect(await failureOf(() => endpoint(exchange))).toMatchObject({
      code: "not_installed",
      message: expect.stringContaining("npm install prom-client"),
    });
  });
});

describe("/live and /ready", () => {
  test("need no key, and distinguish a running process from a server that accepts requests", async () => {
    const server = await serve(model, { port: 0, apiKeys: ["k"], maxConcurrent: 1 });
    const { ask, post } = clientOf(server);
    const statuses = () => Promise.all(["/live", "/ready", "/health"].map(async (path) => (await ask(path)).status));
    expect(await statuses()).toEqual([200, 200, 200]);
    const headers = { authorization: "Bearer k" };
    const answer = post(CHAT, { ...body, max_tokens: 400 }, { headers });
    await until(() => server.stats.running === 1, "an answer");
    // The handler closes while the socket still listens, as in a custom server.
    const closed = server.handler.close();
    expect(await statuses()).toEqual([200, 503, 503]);
    expect((await post(CHAT, body, { headers })).status).toBe(503);
    expect((await ask("/metrics", { headers })).status).toBe(200);
    expect((await answer).status).toBe(200);
    await closed;
    await server.close(0);
  });

  test("report that a server which preloads a model is not ready", () => {
    const { endpoint } = operations.routes.find(({ path }) => path === "/ready")!;
    const service = { isClosing: () => false, models: { isPreloading: true } };
    expect(() => endpoint({ service } as unknown as Exchange)).toThrow("server: loading a model");
  });
});

describe("request ids", () => {
  test("request ids of clients are kept if they are well-formed, and are in answers, errors and logs", async () => {
    const records: RequestRecord[] = [];
    await withServer(model, { apiKeys: ["k"], onRequest: (record) => records.push(record) }, async ({ ask, post }) => {
      const idOf = async (headers: Record<string, string>, path = "/v1/models") =>
        (await ask(path, { headers })).headers.get("x-request-id");
      const authorization = "Bearer k";
      expect(await idOf({ authorization, "x-request-id": "req_1.a:b-c" })).toBe("req_1.a:b-c");
      expect(await idOf({ "x-request-id": "refused" })).toBe("refused");
      expect(await idOf({ authorization, "x-request-id": "lost" }, "/nowhere")).toBe("lost");
      for (const given of ["", "a b", "x".repeat(129), "a\tb", "ä"])
        expect(await idOf({ authorization, "x-request-id": given })).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/);
      expect(await idOf({ authorization })).not.toBe(await idOf({ authorization }));
      const init = { headers: { authorization, "x-request-id": "streamed" } };
      const streamed = await post(CHAT, { ...body, stream: true }, init);
      expect(streamed.headers.get("x-request-id")).toBe("streamed");
      await until(() => records.at(-1)?.requestId === "streamed", "the record");
      expect(records.at(-1)).toMatchObject({ status: 200, model: "tiny", completionTokens: 24 });
      const { firstTokenMs, tokenMs, ms } = records.at(-1)!;
      expect(firstTokenMs! + 23 * tokenMs!).toBeLessThanOrEqual(ms);
      expect(records.slice(0, 3).map(({ requestId, status }) => [requestId, status])).toEqual([
        ["req_1.a:b-c", 200],
        ["refused", 401],
        ["lost", 404],
      ]);
    });
  });

  test("are readable by pages of allowed origins", () =>
    withServer(model, { allowedOrigins: ["https://app.example"] }, async ({ ask }) => {
      const { headers } = await ask("/health", { headers: { origin: "https://app.example" } });
      expect(headers.get("access-control-expose-headers")).toBe("x-request-id, request-id");
    }));

  test("a record of a failure has the error, which the client does not see", async () => {
    const records: RequestRecord[] = [];
    const onRequest = (record: RequestRecord) => records.push(record);
    const server = await serve([{ name: "late", path: "/nowhere/at/all" }], { port: 0, onRequest });
    try {
      const { post } = clientOf(server);
      const answer = await post(CHAT, body);
      expect(JSON.stringify(answer.body)).not.toContain("nowhere");
      await until(() => records.length === 1, "the record");
      expect(records[0]).toMatchObject({ status: 500, error: expect.any(HeddleError) });
      expect((records[0]!.error as Error).message).toContain("/nowhere/at/all");
      await post(CHAT, { ...body, model: "other" });
      await until(() => records.length === 2, "the record");
      expect(records[1]).not.toHaveProperty("error");
    } finally {
      await server.close(0);
    }
  });
});

describe("OpenTelemetry", () => {
  interface Recorded {
    name: string;
    kind: SpanKind | undefined;
    parent: string | undefined;
    attributes: Record<string, unknown>;
    status?: number;
    exceptions: number;
    ended: boolean;
  }
  let spans: Recorded[] = [];

  /** A tracer with the interface of OpenTelemetry's SDK that records its spans. */
  const tracer = {
    startSpan(
      name: string,
      { kind, attributes = {} }: Parameters<Tracer["startSpan"]>[1] = {},
      parent = context.active(),
    ) {
      const own: Recorded = {
        ...{ name, kind, attributes: { ...attributes }, exceptions: 0, ended: false },
        parent: trace.getSpanContext(parent)?.spanId,
      };
      spans.push(own);
      const span = {
        setAttribute(key: string, value: unknown) {
          own.attributes[key] = value;
        },
        setAttributes(all: object) {
          Object.assign(own.attributes, all);
        },
        updateName(text: string) {
          own.name = text;
        },
        setStatus({ code }: { code: number }) {
          own.status = code;
        },
        recordException() {
          own.exceptions++;
        },
        end() {
          own.ended = true;
        },
      };
      return span;
    },
  } as unknown as Tracer;
  const propagator: TextMapPropagator = {
    inject: () => {},
    fields: () => ["traceparent"],
    extract: (from, carrier) => {
      const [, traceId = "", spanId = ""] = String((carrier as Record<string, string>).traceparent ?? "").split("-");
      return spanId === "" ? from : trace.setSpanContext(from, { traceId, spanId, traceFlags: 1 });
    },
  };

  beforeAll(() => {
    trace.setGlobalTracerProvider({ getTracer: () => tracer });
    propagation.setGlobalPropagator(propagator);
  });
  afterAll(() => {
    trace.disable();
    propagation.disable();
  });
  afterEach(() => {
    spans = [];
  });

  test("a chat is a span below the caller's, with the attributes of the GenAI conventions", () =>
    withServer(model, {}, async ({ post }) => {
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
      const headers = { traceparent, "x-request-id": "one" };
      const { body: answer } = await post(CHAT, body, { headers });
      await until(() => spans[0]?.ended === true, "the span");
      expect(spans).toHaveLength(1);
      expect(spans[0]).toMatchObject({
        name: "chat tiny",
        kind: SpanKind.SERVER,
        parent: "b7ad6b7169203331",
        exceptions: 0,
        attributes: {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "heddle",
          "gen_ai.request.model": "tiny",
          "gen_ai.response.model": "tiny",
          "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
          "gen_ai.usage.output_tokens": 24,
          "http.request.method": "POST",
          "http.route": CHAT,
          "http.response.status_code": 200,
          "heddle.request.id": "one",
        },
      });
      expect(spans[0]).not.toHaveProperty("status");
    }));

  test.each([
    ["/v1/embeddings", { input: [1, 2, 3] }, "/v1/embeddings"],
    ["/api/embed", { input: "The cat" }, "/api/embed"],
    ["/api/embeddings", { prompt: "The cat" }, "/api/embeddings"],
    ["/embed", { inputs: "The cat" }, "/embed"],
    ["/models/tiny/pipeline/feature-extraction", { inputs: "The cat" }, "/models/:model/pipeline/feature-extraction"],
  ])("%s is a span of embeddings", (path, request, route) =>
    withServer(model, {}, async ({ post }) => {
      expect((await post(path, request)).status).toBe(200);
      await until(() => spans[0]?.ended === true, "the span");
      expect(spans[0]).toMatchObject({
        name: "embeddings tiny",
        attributes: { "gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "heddle", "http.route": route },
      });
    }),
  );

  test("failures of the server are errors of the span, and those of clients are not", async () => {
    const server = await serve([{ name: "late", path: "/nowhere" }], { port: 0 });
    try {
      const { post, ask } = clientOf(server);
      await post(CHAT, body);
      await post(CHAT, {});
      await ask("/v1/models/late");
      await ask("/nowhere");
      await until(() => spans.length === 3 && spans.every(({ ended }) => ended), "the spans");
      expect(spans.map(({ name, status, exceptions }) => [name, status, exceptions])).toEqual([
        [`POST ${CHAT}`, 2, 1],
        [`POST ${CHAT}`, undefined, 0],
        ["GET /v1/models/:model", undefined, 0],
      ]);
      expect(spans[0]!.attributes["error.type"]).toBe("NOT_FOUND");
    } finally {
      await server.close(0);
    }
  });
});
