// A handler with the types of the Fetch API, `(request: Request) => Promise<Response>`, for Hono, Bun, Deno, Next.js and similar hosts.
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable, Writable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { onAbort } from "../core/abort-listeners.ts";
import { checkObject, invalidArgument } from "../core/errors.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { ModelSource } from "./core/model-source.ts";
import { createHandler, type RequestHandler, type ServerStats } from "./handler.ts";
import { ClientLost } from "./http/backpressure.ts";
import type { HandlerOptions } from "./options.ts";

/** Options of a fetch handler. */
export interface FetchHandlerOptions extends HandlerOptions {
  /** Path under which the endpoints are, such as `/api/llm` for `/api/llm/v1/…`. Other paths are a 404. Default: none. */
  basePath?: string | undefined;
}

/** A request handler with the types of the Fetch API. */
export interface FetchHandler {
  (request: Request): Promise<Response>;
  /** Current load of the server. */
  readonly stats: ServerStats;
  /** Same as `RequestHandler.load`. */
  load(name?: string): Promise<void>;
  /** Same as `RequestHandler.close`. */
  close(timeout?: number): Promise<void>;
  /** Calls `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Creates a `Request → Response` function that serves the same API as `createHandler`. An answer ends when the request's signal fires or
 * the response's body is cancelled. The caller still owns loaded models.
 * @param models as for `createHandler`
 * @throws HeddleError INVALID_ARGUMENT, DISPOSED
 * @example
 * const handler = createFetchHandler(model);
 * Bun.serve({ port: 8080, fetch: (request) => handler(request) });
 */
export function createFetchHandler(
  models: LanguageModel | readonly ModelSource[],
  options: FetchHandlerOptions = {},
): FetchHandler {
  checkObject("options", options);
  const { basePath = "", ...rest } = options;
  if (typeof basePath !== "string" || !/^((\/[^/?#\s]+)+)?$/.test(basePath))
    throw invalidArgument("basePath", "a path such as /api/llm", basePath);
  const handler = createHandler(models, rest);
  const answer = async (request: Request) => {
    if (!(request instanceof Request)) throw invalidArgument("request", "a Request", request);
    return answerWith(handler, request, basePath);
  };
  return Object.defineProperties(answer as FetchHandler, {
    stats: { get: () => handler.stats },
    load: { value: (name?: string) => handler.load(name) },
    close: { value: (timeout?: number) => handler.close(timeout) },
    [Symbol.asyncDispose]: { value: () => handler.close() },
  });
}

function answerWith(handler: RequestHandler, request: Request, basePath: string): Promise<Response> {
  const { pathname, host, search } = new URL(request.url);
  const isBelow = pathname.startsWith(`${basePath}/`);
  const socket = new EventEmitter();
  const body = request.body ? Readable.fromWeb(request.body as NodeReadableStream) : Readable.from([]);
  const incoming = Object.assign(body, {
    method: request.method,
    // Paths outside `basePath` get a second slash. No route begins with two, so they are a 404.
    url: (isBelow ? pathname.slice(basePath.length) : `/${pathname}`) + search,
    // A `new Request()` has no Host header, so the host comes from the URL.
    headers: { host, ...Object.fromEntries(request.headers) },
    socket,
  });
  const outgoing = new WebResponse(request.method === "HEAD");
  const abandon = () =>
    outgoing.destroy(
      request.signal.reason instanceof Error ? request.signal.reason : new ClientLost("the request was aborted"),
    );
  // The handler uses only those members of Node's classes that these streams have.
  handler(incoming as unknown as IncomingMessage, outgoing as unknown as ServerResponse);
  const forget = onAbort(request.signal, abandon);
  outgoing.once("close", () => {
    forget();
    body.destroy();
  });
  return outgoing.answer;
}

/**
 * The part of Node's ServerResponse that the server uses. Written bytes become the body of a Response, with
 * backpressure.
 */
class WebResponse extends Writable {
  /** The response, as soon as its headers are known. Rejects if the response fails before that. */
  readonly answer: Promise<Response>;
  statusCode = 200;
  headersSent = false;
  private readonly headers = new Headers();
  /** Whether the response has no body, so that written bytes are dropped. */
  private isEmpty: boolean;
  private resolve!: (response: Response) => void;
  private reject!: (reason: unknown) => void;
  private controller!: ReadableStreamDefaultController<Uint8Array>;
  /** Completes the pending write. It is called when the reader asks for more, so that writes have backpressure. */
  private go: (() => void) | undefined;

  constructor(isHead: boolean) {
    super({ decodeStrings: true });
    this.isEmpty = isHead;
    this.answer = new Promise((resolve, reject) => {
      [this.resolve, this.reject] = [resolve, reject];
    });
  }

  setHeader(name: string, value: string | number): this {
    this.headers.set(name, String(value));
    return this;
  }

  writeHead(status: number, headers: Readonly<Record<string, string | number>> = {}): this {
    this.statusCode = status;
    for (const [name, value] of Object.entries(headers)) this.setHeader(name, value);
    this.sendHead();
    return this;
  }

  private sendHead(): void {
    if (this.headersSent) return;
    this.headersSent = true;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller;
      },
      pull: () => this.goOn(),
      cancel: () => void this.destroy(new ClientLost("the body was canceled")),
    });
    this.isEmpty ||= this.statusCode === 204;
    this.resolve(new Response(this.isEmpty ? null : stream, { status: this.statusCode, headers: this.headers }));
  }

  private goOn(): void {
    const { go } = this;
    this.go = undefined;
    go?.();
  }

  override _write(bytes: Buffer, _: BufferEncoding, written: () => void): void {
    this.sendHead();
    if (!this.isEmpty) this.controller.enqueue(new Uint8Array(bytes));
    if (this.isEmpty || (this.controller.desiredSize ?? 0) > 0) written();
    else this.go = written;
  }

  override _final(ended: () => void): void {
    this.sendHead();
    this.controller.close();
    ended();
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    if (!this.writableFinished) {
      const reason = error ?? new ClientLost("the answer was ended");
      this.reject(reason);
      try {
        this.controller?.error(reason);
      } catch {
        // The stream is closed or cancelled already.
      }
    }
    this.goOn();
    destroyed(error);
  }
}
