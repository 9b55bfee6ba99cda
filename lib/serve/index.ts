// heddle/serve: serves a model over HTTP with OpenAI's API.
import "../core/node-version.ts";

export { HeddleError, type HeddleErrorCode } from "../core/errors.ts";
export { createHandler, type RequestHandler, type ServerStats } from "./handler.ts";
export type { HandlerOptions, RequestRecord, ServeOptions } from "./options.ts";
export { type ModelServer, serve } from "./server.ts";
