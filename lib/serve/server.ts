// A standalone server for the handler: listening, timeouts for slow clients, shutdown.
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { HeddleError } from "../core/errors.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { ModelSource } from "./core/model-source.ts";
import { handlerOf, type RequestHandler, type ServerStats } from "./handler.ts";
import { Connections } from "./http/connections.ts";
import { Refusal } from "./http/http-error.ts";
import { errorBody } from "./openai/dialect.ts";
import { type ListenSettings, type ServeOptions, serveSettings } from "./options.ts";

/** A running server. */
export interface ModelServer {
  /** Base URL, such as `http://127.0.0.1:8080`. OpenAI clients need this followed by `/v1`. */
  readonly url: string;
  /**
   * Name of the model in requests. With several models, the name of the first one, which answers requests that name no
   * model.
   */
  readonly modelName: string;
  /** Names of all models and adapters, without aliases. */
  readonly modelNames: readonly string[];
  /** The function that answers requests. */
  readonly handler: RequestHandler;
  /** Current load of the server. */
  readonly stats: ServerStats;
  /**
   * Stops accepting connections, waits up to `timeout` milliseconds (default `closeTimeout`) for running answers, and aborts the rest.
   * Models that the caller has loaded stay loaded.
   */
  close(timeout?: number): Promise<void>;
  /** Calls `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Interval of the checks for connections with slow requests, in milliseconds. */
const CHECK_INTERVAL = 1000;
/**
 * Maximum idle time of a connection between two requests, in milliseconds. It exceeds the idle time of most clients,
 * which is up to a minute.
 */
const KEEP_ALIVE = 65_000;
/** Milliseconds to send the last bytes of finished answers when the server closes. */
const LAST_BYTES = 500;

/**
 * Serves a model, or several, over HTTP with the APIs of OpenAI, Anthropic and Ollama. Concurrent requests for a model share
 * its forward passes.
 * @param models a model, or a list of models and paths. Paths are loaded at the first request that names them
 * @throws HeddleError INVALID_ARGUMENT, IO if the server cannot listen
 * @example
 * await using server = await serve(model, { port: 8080 });
 * console.log(server.url);
 */
export async function serve(
  models: LanguageModel | readonly ModelSource[],
  options: ServeOptions = {},
): Promise<ModelServer> {
  const { listen, handler: settings } = serveSettings(models, options);
  const handler = handlerOf(settings);
  const server = createServer(
    {
      headersTimeout: listen.headersTimeout,
      requestTimeout: listen.headersTimeout + settings.bodyTimeout,
      keepAliveTimeout: KEEP_ALIVE,
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL, listen.headersTimeout),
      maxHeaderSize: 16 << 10,
    },
    handler,
  );
  server.maxConnections = listen.maxConnections;
  const connections = new Connections(server);
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) =>
    answerBadRequest(error, socket, connections.isAnswering(socket)),
  );
  try {
    await listening(server, listen);
  } catch (error) {
    await handler.close(0);
    throw error;
  }
  let closing: Promise<void> | undefined;
  const close = async (timeout: number) => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    connections.close();
    await handler.close(timeout);
    // Bytes of finished answers may still be unsent. Their connections close when the bytes are sent, or after
    // LAST_BYTES.
    const late = setTimeout(() => server.closeAllConnections(), timeout === 0 ? 0 : LAST_BYTES);
    server.closeIdleConnections();
    await closed;
    clearTimeout(late);
  };
  const running: ModelServer = {
    url: urlOf(server.address() as AddressInfo, listen),
    modelName: settings.models[0]!.name,
    modelNames: settings.models.flatMap(({ name, adapters }) => [name, ...adapters.keys()]),
    handler,
    get stats() {
      return handler.stats;
    },
    close(timeout = listen.closeTimeout) {
      closing ??= close(timeout);
      return closing;
    },
    [Symbol.asyncDispose]() {
      return running.close();
    },
  };
  return running;
}

function listening(server: Server, { host, port }: ListenSettings): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const place = `${host}:${port}`;
      reject(
        new HeddleError(
          "IO",
          `port: cannot listen on ${place}: expected a free port, got ${cause.code ?? cause.message}`,
          {
            cause,
          },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}

function urlOf({ port }: AddressInfo, { host }: ListenSettings): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

/**
 * Answers invalid HTTP, slow requests and too large headers. While an answer is being written, it closes the connection without a response,
 * because more bytes would become part of that answer.
 */
function answerBadRequest(error: NodeJS.ErrnoException, socket: Socket, isAnswering: boolean): void {
  if (isAnswering || error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }[error.code ?? ""] ?? 400;
  const refusal = new Refusal(status, "request: expected a complete HTTP request in time, got something else", {
    code: status === 408 ? "timeout" : "bad_request",
  });
  const body = JSON.stringify(errorBody(refusal));
  socket.end(
    `HTTP/1.1 ${status} ${REASONS[status]}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
