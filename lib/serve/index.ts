// heddle/serve: serves models over HTTP with the APIs of OpenAI, Anthropic and Ollama.
import "../core/node-version.ts";

export { HeddleError, type HeddleErrorCode } from "../core/errors.ts";
export type { ModelSource } from "./core/model-source.ts";
export type { RequestRecord } from "./core/record.ts";
export { createHandler, type RequestHandler, type ServerStats } from "./handler.ts";
export type { HandlerOptions, ServeOptions } from "./options.ts";
export { type ModelServer, serve } from "./server.ts";
export { createFetchHandler, type FetchHandler, type FetchHandlerOptions } from "./web.ts";
