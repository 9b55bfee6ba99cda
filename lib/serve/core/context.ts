// The state that a request shares with its endpoint.
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { sendLargeJson } from "../http/json-answer.ts";
import type { Semaphore } from "../http/semaphore.ts";
import type { Metrics } from "../operations/metrics.ts";
import type { HandlerSettings } from "../options.ts";
import type { ConcurrencyLimit } from "./concurrency-limit.ts";
import type { Models } from "./models.ts";
import type { RecordPart } from "./record.ts";
import type { Dialect } from "./routes.ts";

/** The state that all requests of a handler share. */
export interface Service {
  settings: HandlerSettings;
  models: Models;
  metrics: Metrics;
  isClosing(): boolean;
  /** Limits running and waiting answers. */
  concurrency: ConcurrencyLimit;
  /** Limits concurrent embedding and scoring runs. */
  embedding: Semaphore;
  /** Limits concurrent tokenization of long prompts. */
  encoding: Semaphore;
  /** Schedules parsing and checks of large bodies on the event loop: one at a time, in slices. */
  preparing: Semaphore;
  /** Start time in Unix seconds. */
  created: number;
}

/** One request and its response. */
export interface Exchange {
  service: Service;
  /** The API that the request speaks. */
  dialect: Dialect;
  headers: IncomingHttpHeaders;
  /** The id in logs and in the header of the answer. */
  requestId: string;
  /** When the request arrived, by `performance.now()`. */
  started: number;
  /** The part of the path that a route such as `/v1/models/:model` names, decoded. Otherwise "". */
  parameter: string;
  query: URLSearchParams;
  /** The JSON object of a POST request. Empty for other methods. */
  body: Readonly<Record<string, unknown>>;
  response: ServerResponse;
  /** Fires when the client disconnects or the server closes. */
  signal: AbortSignal;
  /** Adds facts about the request to its record, for `onRequest`, metrics and traces. */
  record(part: RecordPart): void;
}

/** Sends a JSON response that may be large. @throws ClientLost */
export async function sendAnswer({ response, signal, service: { settings } }: Exchange, value: unknown): Promise<void> {
  await sendLargeJson(response, value, { stallTimeout: settings.stallTimeout, signal });
}
