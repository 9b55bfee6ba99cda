// The context of every endpoint.
import type { ServerResponse } from "node:http";
import type { SharedScheduler } from "../inference/shared-scheduler.ts";
import type { LanguageModel } from "../language-model/index.ts";
import { Refusal, unsupported } from "./http-error.ts";
import { jsonBytes } from "./json-parts.ts";
import type { HandlerSettings } from "./options.ts";
import type { Places, Turns } from "./places.ts";
import { written } from "./written.ts";

/** Shared state of a handler's requests. */
export interface Service {
  model: LanguageModel;
  settings: HandlerSettings;
  /** Absent where the model gives vectors alone. */
  scheduler: SharedScheduler | undefined;
  places: Places;
  embedding: Turns;
  /** Long prompts that become ids. */
  encoding: Turns;
  /** Large bodies that are parsed and checked on the event loop: one at a time, in slices. */
  preparing: Turns;
  /** When it began, in seconds. */
  created: number;
}

/** One request. */
export interface Exchange {
  service: Service;
  body: Readonly<Record<string, unknown>>;
  response: ServerResponse;
  /** Fires when the client has gone, or the server ends. */
  signal: AbortSignal;
  /** Takes note of how much it was. */
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

/** An answer that is small. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const bytes = Buffer.from(JSON.stringify(value));
  jsonHead(response, status, bytes.length);
  response.end(bytes);
}

/** Bytes that are on their way to a client at once. */
const PART = 64 << 10;

/** An answer that may be large, part by part as the client reads it. @throws ClientLost */
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

/** The scheduler of a model that generates. @throws Refusal 400 */
export function generating({ scheduler, settings }: Service): SharedScheduler {
  if (!scheduler) throw unsupported("model", `${settings.modelName} gives vectors and does not generate`);
  return scheduler;
}

/** @throws Refusal 404 where a request names another model */
export function checkModel(given: string | undefined, { settings: { modelName } }: Service): void {
  if (given === undefined || given === modelName) return;
  throw new Refusal(404, `model: expected ${modelName}, got ${JSON.stringify(given.slice(0, 200))}`, {
    param: "model",
    code: "model_not_found",
  });
}
