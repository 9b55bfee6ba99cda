// Routes requests to endpoints: checks access, and converts all errors to responses.
import type { IncomingMessage, ServerResponse } from "node:http";
import { excerpt } from "../core/errors.ts";
import { withTimeLimit } from "../core/time-limit.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { anthropic } from "./anthropic/dialect.ts";
import { ConcurrencyLimit } from "./core/concurrency-limit.ts";
import type { Service } from "./core/context.ts";
import type { ModelSource } from "./core/model-source.ts";
import { Models } from "./core/models.ts";
import { type RecordPart, type RequestRecord, requestIdOf } from "./core/record.ts";
import { type Dialect, dialectsFor, type Found, type Route, routesAt } from "./core/routes.ts";
import { seconds } from "./core/seconds.ts";
import { ClientLost } from "./http/backpressure.ts";
import { BodyReader, discardBody } from "./http/body.ts";
import { Refusal, refusalOf, unavailable } from "./http/http-error.ts";
import { sendJson } from "./http/json-answer.ts";
import { answerPreflight, checkHost, checkOrigin, keyCheck } from "./http/security.ts";
import { Semaphore } from "./http/semaphore.ts";
import { huggingFace } from "./hugging-face/dialect.ts";
import { llamaCpp } from "./llama-cpp/dialect.ts";
import { ollama } from "./ollama/dialect.ts";
import { openai } from "./openai/dialect.ts";
import { responses } from "./openai/responses/dialect.ts";
import { operations } from "./operations/dialect.ts";
import { Metrics } from "./operations/metrics.ts";
import { openTelemetry, RequestSpan } from "./operations/tracing.ts";
import { type HandlerOptions, type HandlerSettings, handlerSettings } from "./options.ts";
import { playground } from "./playground/dialect.ts";
import { vllm } from "./vllm/dialect.ts";

/** Current load of the server. */
export interface ServerStats {
  /** Number of running sequences. Sequences of one model share its forward passes. */
  running: number;
  /** Number of sequences that wait for a slot. */
  waiting: number;
  /** Number of tokens generated since the start. */
  tokens: number;
  /** Number of running and waiting answers, including embeddings. */
  answers: number;
}

/** A request handler for your own server. */
export interface RequestHandler {
  (request: IncomingMessage, response: ServerResponse): void;
  /** Current load of the server. */
  readonly stats: ServerStats;
  /**
   * Loads a model now instead of at its first request. @param name default: the first model
   * @throws an Error whose `cause` says why the model could not be loaded
   */
  load(name?: string): Promise<void>;
  /**
   * Refuses new requests, waits up to `timeout` milliseconds (default 10,000) for answers to end, aborts the rest and frees the caches.
   * Models that the caller has loaded stay loaded.
   */
  close(timeout?: number): Promise<void>;
  /** Calls `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Maximum number of concurrent embedding runs. Each run of a decoder has its own KV cache. */
const EMBEDDINGS_AT_ONCE = 2;
/** Maximum number of long prompts that are tokenized concurrently. Each takes a thread, and memory of several times its size. */
const ENCODINGS_AT_ONCE = 2;

const DIALECTS: readonly Dialect[] = [
  openai,
  responses,
  anthropic,
  ollama,
  vllm,
  huggingFace,
  llamaCpp,
  playground,
  operations,
];

/**
 * Creates a `(request, response)` function that serves a model, or several, with the APIs of OpenAI, Anthropic and Ollama. The caller
 * still owns loaded models. The handler reads request bodies itself. After a parser such as `express.json()` it uses `request.body`, and the
 * parser's limit applies (100 kB by default). If it is mounted with `app.use("/llm", handler)`, its endpoints are at `/llm/v1/…`.
 * @param models a model, or a list of models and paths. Paths are loaded at the first request that names them
 * @throws HeddleError INVALID_ARGUMENT, DISPOSED
 * @example
 * const handler = createHandler(model, { apiKeys: [key] });
 * createServer((request, response) => (request.url?.startsWith("/v1/") ? handler(request, response) : own(request, response)));
 */
export function createHandler(
  models: LanguageModel | readonly ModelSource[],
  options: HandlerOptions = {},
): RequestHandler {
  return handlerOf(handlerSettings(models, options));
}

/** Creates the handler for checked settings. */
export function handlerOf(settings: HandlerSettings): RequestHandler {
  const { maxConcurrent: slots, maxQueue, deterministic, maxModelMemory: maxMemory } = settings;
  let closing: Promise<void> | undefined;
  const models = new Models(settings.models, { slots, deterministic, maxMemory, maxWaiting: slots + maxQueue });
  const service: Service = {
    settings,
    models,
    metrics: new Metrics(models),
    isClosing: () => closing !== undefined,
    concurrency: new ConcurrencyLimit(slots + maxQueue),
    embedding: new Semaphore(EMBEDDINGS_AT_ONCE),
    encoding: new Semaphore(ENCODINGS_AT_ONCE),
    preparing: new Semaphore(1),
    created: seconds(),
  };
  const bodies = new BodyReader(settings, service.preparing);
  const checkKey = keyCheck(settings.apiKeys);
  const open = new Set<AbortController>();
  let whenIdle: (() => void) | undefined;

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const started = performance.now();
    const controller = new AbortController();
    let counted: RecordPart & Pick<RequestRecord, "error"> = {};
    let route: Route | undefined;
    let span: RequestSpan | undefined;
    let hasBegun = false;
    let done: Promise<unknown> | undefined;
    const requestId = requestIdOf(request);
    response.setHeader("x-request-id", requestId);
    const path = pathOf(request);
    const dialects = dialectsFor({ path, headers: request.headers }, DIALECTS);
    const found = routesAt(path, dialects);
    let dialect = found[0]?.dialect ?? dialects[0]!;
    if (dialect.requestIdHeader) response.setHeader(dialect.requestIdHeader, requestId);
    // Errors of the streams are followed by "close", which is handled below.
    request.on("error", () => {});
    response.on("error", () => {});
    const { socket } = request;
    let hasEnded = false;
    const ended = () => {
      if (hasEnded) return;
      hasEnded = true;
      socket.off("close", ended);
      if (!response.writableFinished) controller.abort(new ClientLost());
      const status = response.writableFinished ? response.statusCode : 499;
      const ms = performance.now() - started;
      const finish = () => {
        const record = { requestId, method: request.method ?? "", path, status, ms, ...counted };
        service.metrics.observe(record, route?.path);
        span?.end(record);
        tell(settings, record);
      };
      // An endpoint reports the tokens of an abandoned answer only after the client has left, so wait for the endpoint.
      if (hasBegun) void done?.then(finish);
      else finish();
    };
    response.once("close", ended);
    // A pipelined response that waits for an earlier one gets no "close" event, so listen to the socket. A
    // socket may have many such listeners.
    socket.setMaxListeners(0).on("close", ended);
    open.add(controller);
    const work = async () => {
      checkHost(request, settings);
      checkOrigin(request, response, settings.allowedOrigins);
      if (request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined)
        return answerPreflight(request, response);
      const first = found[0]?.route;
      if (isGuarded(first, settings)) checkKey(request);
      if (closing && !first?.whileClosing) throw unavailable("server: shutting down");
      if (found.length === 0) throw unknownPath(request, path);
      const method = request.method === "HEAD" ? "GET" : request.method;
      const matching = found.find(({ route }) => route.method === method);
      if (!matching) throw wrongMethod(request, found);
      ({ dialect, route } = matching);
      const { headers } = request;
      const { parameter } = matching;
      const api = await openTelemetry();
      controller.signal.throwIfAborted(); // `ended` has run if the client has left, so nothing would end the span
      if (api) span = new RequestSpan(api, route.path, { method: matching.route.method, headers, requestId });
      const takesBody = route.method === "POST";
      if (takesBody && route.computes !== false) service.concurrency.check();
      const body = takesBody ? await bodies.read(request, controller.signal) : {};
      const record = (more: RecordPart) => {
        counted = { ...counted, ...more };
      };
      const { signal } = controller;
      const about = { dialect, headers, requestId, started, parameter, query: queryOf(request), body };
      hasBegun = true;
      await route.endpoint({ service, ...about, response, signal, record });
    };
    done = work()
      .catch((error: unknown) => {
        const isAbandoned = [error, controller.signal.reason].some((reason) => reason instanceof ClientLost);
        const isOurs = !isAbandoned && refusalOf(error, dialect.parameterNames).status >= 500;
        if (isOurs) counted.error = (error instanceof Refusal && error.cause) || error;
        refuse(request, response, { error, dialect, requestId });
      })
      .catch(() => response.destroy())
      .finally(() => {
        open.delete(controller);
        if (open.size === 0) whenIdle?.();
      });
  };

  const close = async (timeout: number): Promise<void> => {
    if (open.size > 0) {
      const idle = new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
      await withTimeLimit(idle, timeout, () => undefined);
      for (const controller of open) controller.abort(unavailable("server: shutting down"));
      if (open.size > 0) await idle;
    }
    await service.models.close();
  };

  const handler = handle as RequestHandler;
  return Object.defineProperties(handler, {
    stats: {
      get: (): ServerStats => ({
        ...loadOf(service),
        answers: service.concurrency.count,
      }),
    },
    load: { value: (name?: string) => service.models.preload(name) },
    close: {
      value: (timeout = 10_000) => {
        closing ??= close(timeout);
        return closing;
      },
    },
    [Symbol.asyncDispose]: { value: () => handler.close() },
  });
}

function loadOf({ models }: Service): Omit<ServerStats, "answers"> {
  const { running, waiting, tokens } = models.load;
  return { running, waiting, tokens };
}

/** Returns the path without its query. Paths are not normalized, so only exact endpoints match. */
function pathOf({ url = "" }: IncomingMessage): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

function queryOf({ url = "" }: IncomingMessage): URLSearchParams {
  const start = url.indexOf("?");
  return new URLSearchParams(start < 0 ? "" : url.slice(start));
}

/** Returns the error for an unknown path. It lists the known ones, because a client's base URL may lack `/v1`. */
function unknownPath({ method = "" }: IncomingMessage, path: string): Refusal {
  const known = DIALECTS.filter((one) => one !== playground).flatMap(({ routes }) =>
    routes.map((route) => `${route.method} ${route.path}`),
  );
  return new Refusal(404, `path: expected one of ${[...new Set(known)].join(", ")}, got ${method} ${excerpt(path)}`, {
    code: "not_found",
  });
}

function wrongMethod({ method = "" }: IncomingMessage, found: readonly Found[]): Refusal {
  const methods = found.flatMap(({ route }) => (route.method === "GET" ? ["GET", "HEAD"] : [route.method]));
  const allowed = [...new Set(methods)].join(", ");
  return new Refusal(405, `method: expected ${allowed}, got ${method}`, {
    code: "method_not_allowed",
    headers: { allow: allowed },
  });
}

function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { error, dialect, requestId }: { error: unknown; dialect: Dialect; requestId: string },
): void {
  if (response.writableEnded) return; // a failed stream has already sent its error
  if (response.headersSent || error instanceof ClientLost) {
    response.destroy();
    return;
  }
  const refusal = refusalOf(error, dialect.parameterNames);
  for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value);
  sendJson(response, refusal.status, dialect.errorBody(refusal, requestId));
  discardBody(request);
}

function isGuarded(route: Route | undefined, settings: HandlerSettings): boolean {
  const { guarded = true } = route ?? {};
  return typeof guarded === "function" ? guarded(settings) : guarded;
}

function tell({ onRequest }: HandlerSettings, record: RequestRecord): void {
  try {
    // The listener may be an async function, although its type does not say so.
    Promise.resolve(onRequest?.(record)).catch(() => {});
  } catch {
    // Errors of a listener do not affect the server.
  }
}
