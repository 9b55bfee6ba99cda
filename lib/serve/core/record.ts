// The record of a finished request, for logs, metrics and traces.
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** A finished request, for `onRequest`. */
export interface RequestRecord {
  /** The id in the answer's `x-request-id`: that of the request if it is well-formed, else a new one. */
  requestId: string;
  /** The HTTP method. */
  method: string;
  /** The path without its query. */
  path: string;
  /** HTTP status of the response. 499: the client disconnected before the response was complete. */
  status: number;
  /** Milliseconds from the request's headers to the end of the response. */
  ms: number;
  /** Name of the model that answered. */
  model?: string;
  /** Number of tokens of the prompt. */
  promptTokens?: number;
  /** Number of prompt tokens that came from the prefix cache. */
  cachedTokens?: number;
  /** Number of generated tokens. */
  completionTokens?: number;
  /** Milliseconds from the request's headers to the first token of an answer. */
  firstTokenMs?: number;
  /** Mean number of milliseconds between two tokens of an answer. */
  tokenMs?: number;
  /** The error, for a failure of the server. It may contain paths and other details that the client does not see. */
  error?: unknown;
}

/** The part of a record that an endpoint knows. */
export type RecordPart = Pick<
  RequestRecord,
  "model" | "promptTokens" | "cachedTokens" | "completionTokens" | "firstTokenMs" | "tokenMs"
>;

/** Returns the id of a request. Ids of clients are kept if they are safe to write to a log. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && /^[\w.:/-]{1,128}$/.test(given) ? given : randomUUID();
}
