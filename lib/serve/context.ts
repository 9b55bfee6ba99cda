// State shared by the endpoints, and helpers to send responses.
import type { ServerResponse } from "node:http";
import type { SharedScheduler } from "../inference/shared-scheduler.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { Refusal, unsupported } from "./http-error.ts";
import { jsonBytes } from "./json-parts.ts";
import type { HandlerSettings } from "./options.ts";
import type { Places, Turns } from "./places.ts";
import { written } from "./written.ts";

/** The state that all requests of a handler share. */
export interface Service {
  model: LanguageModel;
  settings: HandlerSettings;
  /** Undefined if the model only computes embeddings. */
  scheduler: SharedScheduler | undefined;
  places: Places;
  embedding: Turns;
  /** Schedules the tokenization of long prompts. */
  encoding: Turns;
  /** Schedules parsing and checks of large bodies on the event loop: one at a time, in slices. */
  preparing: Turns;
  /** Start time in Unix seconds. */
  created: number;
}

/** One request and its response. */
export interface Exchange {
  service: Service;
  body: Readonly<Record<string, unknown>>;
  response: ServerResponse;
  /** Fires when the client disconnects or the server closes. */
  signal: AbortSignal;
  /** Records the number of tokens for `onRequest`. */
  count(tokens: { promptTokens: number; completionTokens: number }): void;
}

function jsonHead(response: ServerResponse, status: number, bytes: number): void {
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": bytes,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
}

/** Sends a small JSON response. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const bytes = Buffer.from(JSON.stringify(value));
  jsonHead(response, status, bytes.length);
  response.end(bytes);
}

/** Number of bytes that are written to a client at a time. */
const PART = 64 << 10;

/** Sends a JSON response that may be large, part by part as the client reads it. @throws ClientLost */
export async function sendAnswer({ response, signal, service: { settings } }: Exchange, value: unknown): Promise<void> {
  const pieces = await jsonBytes(value, PART, signal);
  jsonHead(
    response,
    200,
    pieces.reduce((sum, { length }) => sum + length, 0),
  );
  for (const piece of pieces) await written(response, piece, { stallTimeout: settings.stallTimeout, signal });
  response.end();
}

/** Returns the scheduler of a generating model. @throws Refusal 400 for another model */
export function generating({ scheduler, settings }: Service): SharedScheduler {
  if (!scheduler) throw unsupported("model", `${settings.modelName} gives vectors and does not generate`);
  return scheduler;
}

/** Checks the model's name in a request. @throws Refusal 404 for another model */
export function checkModel(given: string | undefined, { settings: { modelName } }: Service): void {
  if (given === undefined || given === modelName) return;
  throw new Refusal(404, `model: expected ${modelName}, got ${JSON.stringify(given.slice(0, 200))}`, {
    param: "model",
    code: "model_not_found",
  });
}
