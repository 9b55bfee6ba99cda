// Sends JSON responses.
import type { ServerResponse } from "node:http";
import { type DrainOptions, writeWithBackpressure } from "./backpressure.ts";
import { jsonBytes } from "./json-parts.ts";

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
export async function sendLargeJson(response: ServerResponse, value: unknown, waiting: DrainOptions): Promise<void> {
  const pieces = await jsonBytes(value, PART, waiting.signal);
  jsonHead(
    response,
    200,
    pieces.reduce((sum, { length }) => sum + length, 0),
  );
  for (const piece of pieces) await writeWithBackpressure(response, piece, waiting);
  response.end();
}
