// Routes requests to endpoints: checks access, and converts all errors to responses.
import type { IncomingMessage, ServerResponse } from "node:http";
import { excerpt, HeddleError } from "../core/errors.ts";
import { SharedScheduler } from "../inference/shared-scheduler.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { encodesWholeTexts } from "../models/family.ts";
import { BodyReader, discardBody } from "./body.ts";
import { chatCompletions } from "./chat-completions.ts";
import { completions } from "./completions.ts";
import { type Exchange, type Service, sendJson } from "./context.ts";
import { embeddings } from "./embeddings.ts";
import { Refusal, refusalOf, unavailable } from "./http-error.ts";
import { type HandlerOptions, type HandlerSettings, handlerSettings, type RequestRecord } from "./options.ts";
import { Places, Turns } from "./places.ts";
import { answerPreflight, checkHost, checkOrigin, keyCheck } from "./security.ts";
import { ClientLost } from "./written.ts";

/** Current load of the server. */
export interface ServerStats {
  /** Number of running sequences, which share the model's runs. */
  running: number;
  /** Number of sequences that wait for a slot. */
  waiting: number;
  /** Number of answers that hold a place in the queue, embeddings included. */
  answers: number;
  /** Number of tokens generated since the start. */
  tokens: number;
}

/** A request handler for your own server. */
export interface RequestHandler {
  (request: IncomingMessage, response: ServerResponse): void;
  readonly stats: ServerStats;
  /**
   * Refuses new requests, waits up to `timeout` milliseconds (default 10,000) for answers to end, aborts the rest and frees the caches. The
   * model stays loaded.
   */
  close(timeout?: number): Promise<void>;
  /** Calls `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Maximum number of concurrent embedding runs. Each has its own cache. */
const EMBEDDINGS_AT_ONCE = 2;
/** Maximum number of long prompts that are tokenized concurrently. Each takes a thread, and memory of several times its size. */
const ENCODINGS_AT_ONCE = 2;
const MODELS = "/v1/models";

const POSTS: Readonly<Record<string, (exchange: Exchange) => Promise<void>>> = {
  "/v1/chat/completions": chatCompletions,
  "/v1/completions": completions,
  "/v1/embeddings": embeddings,
};

/**
 * Creates a `(request, response)` function that serves OpenAI's API for a model. The caller still owns the model. The handler reads
 * request bodies itself, or uses `request.body` after a parser such as `express.json()`, with the parser's limits (100 kB by default). If
 * it is mounted with `app.use("/llm", handler)`, its endpoints are at `/llm/v1/…`.
 * @throws HeddleError INVALID_ARGUMENT, DISPOSED
 * @example
 * const handler = createHandler(model, { apiKeys: [key] });
 * createServer((request, response) => (request.url?.startsWith("/v1/") ? handler(request, response) : own(request, response)));
 */
export function createHandler(model: LanguageModel, options: HandlerOptions = {}): RequestHandler {
  return handlerOf(model, handlerSettings(model, options));
}

/** Creates the handler for checked settings. */
export function handlerOf(model: LanguageModel, settings: HandlerSettings): RequestHandler {
  model.model.assertLive();
  const { maxConcurrent: slots, maxQueue, deterministic } = settings;
  const scheduler = encodesWholeTexts(model.model) ? undefined : new SharedScheduler(model, { slots, deterministic });
  const service: Service = {
    model,
    settings,
    scheduler,
    places: new Places(slots + maxQueue),
    embedding: new Turns(EMBEDDINGS_AT_ONCE),
    encoding: new Turns(ENCODINGS_AT_ONCE),
    preparing: new Turns(1),
    created: Math.floor(Date.now() / 1000),
  };
  const bodies = new BodyReader(settings, service.preparing);
  const checkKey = keyCheck(settings.apiKeys);
  const open = new Set<AbortController>();
  let whenIdle: (() => void) | undefined;
  let closing: Promise<void> | undefined;

  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const started = performance.now();
    const controller = new AbortController();
    let counted: Partial<RequestRecord> = {};
    const path = pathOf(request);
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
      tell(settings, { method: request.method ?? "", path, status, ms, ...counted });
    };
    response.once("close", ended);
    // A response that waits behind another one of its connection gets no event when the connection closes, so listen to the socket. There
    // may be many such responses.
    socket.setMaxListeners(0).on("close", ended);
    open.add(controller);
    const work = async () => {
      checkHost(request, settings);
      checkOrigin(request, response, settings.allowedOrigins);
      if (request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined)
        return answerPreflight(request, response);
      const isHealth = path === "/health";
      if (!isHealth) checkKey(request);
      if (closing) throw unavailable("server: shutting down");
      const isGet = request.method === "GET" || request.method === "HEAD";
      const post = Object.hasOwn(POSTS, path) ? POSTS[path] : undefined;
      if (post) {
        if (request.method !== "POST") throw wrongMethod(request, "POST");
        service.places.check();
        const body = await bodies.read(request, controller.signal);
        const count = (tokens: Partial<RequestRecord>) => {
          counted = tokens;
        };
        return post({ service, body, response, signal: controller.signal, count });
      }
      const found = isHealth ? { status: "ok" } : modelsAt(path, service);
      if (found === undefined) throw unknownPath(request, path);
      if (!isGet) throw wrongMethod(request, "GET, HEAD");
      sendJson(response, 200, found);
    };
    work()
      .catch((error: unknown) => refuse(request, response, error))
      .catch(() => response.destroy())
      .finally(() => {
        open.delete(controller);
        if (open.size === 0) whenIdle?.();
      });
  };

  const close = async (timeout: number): Promise<void> => {
    if (open.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      const idle = new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeout);
      });
      await Promise.race([idle, late]);
      clearTimeout(timer);
      for (const controller of open) controller.abort(unavailable("server: shutting down"));
      if (open.size > 0) await idle;
    }
    await scheduler?.close(new HeddleError("DISPOSED", "server: used after close()"));
  };

  const handler = handle as RequestHandler;
  return Object.defineProperties(handler, {
    stats: {
      get: (): ServerStats => ({
        ...(scheduler?.counts ?? { running: 0, waiting: 0, tokens: 0 }),
        answers: service.places.count,
      }),
    },
    close: {
      value: (timeout = 10_000) => {
        closing ??= close(timeout);
        return closing;
      },
    },
    [Symbol.asyncDispose]: { value: () => handler.close() },
  });
}

/** Returns the path without its query. Paths are not normalized, so only exact endpoints match. */
function pathOf({ url = "" }: IncomingMessage): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}

/** Returns the response of the models endpoint, or undefined for other paths. @throws Refusal 404 for another model */
function modelsAt(path: string, { settings: { modelName }, created }: Service): object | undefined {
  const model = { id: modelName, object: "model", created, owned_by: "heddle" };
  if (path === MODELS) return { object: "list", data: [model] };
  if (!path.startsWith(`${MODELS}/`)) return undefined;
  let id: string | undefined;
  try {
    id = decodeURIComponent(path.slice(MODELS.length + 1));
  } catch {
    // The name is not validly encoded.
  }
  if (id === modelName) return model;
  throw new Refusal(404, `model: expected ${modelName}, got another`, { param: "model", code: "model_not_found" });
}

/** Returns the error for an unknown path. It lists the known ones, because a client's base URL may lack `/v1`. */
function unknownPath({ method = "" }: IncomingMessage, path: string): Refusal {
  const known = [...Object.keys(POSTS).map((one) => `POST ${one}`), `GET ${MODELS}`, "GET /health"].join(", ");
  return new Refusal(404, `path: expected one of ${known}, got ${method} ${excerpt(path)}`, { code: "not_found" });
}

function wrongMethod({ method = "" }: IncomingMessage, allowed: string): Refusal {
  return new Refusal(405, `method: expected ${allowed}, got ${method}`, {
    code: "method_not_allowed",
    headers: { allow: allowed },
  });
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.writableEnded) return; // a failed stream has already sent its error
  if (response.headersSent || error instanceof ClientLost) {
    response.destroy();
    return;
  }
  const refusal = refusalOf(error);
  for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value);
  sendJson(response, refusal.status, refusal.body);
  discardBody(request);
}

function tell({ onRequest }: HandlerSettings, record: RequestRecord): void {
  try {
    // The listener may be an async function, although its type does not say so.
    Promise.resolve(onRequest?.(record)).catch(() => {});
  } catch {
    // Errors of a listener do not affect the server.
  }
}
