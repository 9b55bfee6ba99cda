// Streams an answer as events. The client may be slow or stop reading.
import type { ServerResponse } from "node:http";
import { type DrainOptions, writeWithBackpressure } from "./backpressure.ts";
import { jsonBytes } from "./json-parts.ts";

/** How events are written. */
interface EventFormat {
  contentType: string;
  /** Text before and after an event's data. */
  before(event: unknown): string;
  after: string;
}

/** Returns the data of an event. A string is sent unchanged, and an object as JSON. */
const dataOf = (event: unknown) => (typeof event === "string" ? event : JSON.stringify(event));

/** Server-sent events without names, as in OpenAI's chat completions. */
export const UNNAMED_EVENTS: EventFormat = {
  contentType: "text/event-stream; charset=utf-8",
  before: () => "data: ",
  after: "\n\n",
};

/** Server-sent events that are named by their `type`, as in OpenAI's responses and Anthropic's messages. */
export const NAMED_EVENTS: EventFormat = {
  contentType: "text/event-stream; charset=utf-8",
  before: (event) => `event: ${(event as { type: string }).type}\ndata: `,
  after: "\n\n",
};

/** One JSON object per line, as in Ollama's API. */
export const JSON_LINES: EventFormat = {
  contentType: "application/x-ndjson",
  before: () => "",
  after: "\n",
};

/** Number of bytes of a large event that are written at a time. */
const PART = 64 << 10;

/**
 * A streamed answer. Its status and headers go out with its first event. Until then the request can fail with its own status, and a
 * proxy can send it to another server.
 */
export class EventStream {
  private readonly response: ServerResponse;
  private readonly waiting: DrainOptions;
  private readonly format: EventFormat;
  private draining: Promise<void> | undefined;
  /** Whether a large event is half written, so that no other one can follow. */
  private isWithin = false;

  constructor(response: ServerResponse, waiting: DrainOptions, format = UNNAMED_EVENTS) {
    this.response = response;
    this.waiting = waiting;
    this.format = format;
  }

  /** Sends events in order. @throws as `writeWithBackpressure` */
  async send(events: readonly unknown[]): Promise<void> {
    if (events.length === 0) return;
    await this.write(this.textOf(events));
  }

  /** Sends an event that may be large, part by part. No other event may be sent meanwhile. @throws as `writeWithBackpressure` */
  async sendLarge(event: unknown): Promise<void> {
    const pieces = await jsonBytes(event, PART, this.waiting.signal);
    this.isWithin = true;
    await this.write(this.format.before(event));
    for (const piece of pieces) await this.write(piece);
    await this.write(this.format.after);
    this.isWithin = false;
  }

  /** Ends a complete answer. @param last the last event */
  async end(last?: unknown): Promise<void> {
    if (last !== undefined) await this.send([last]);
    this.begin();
    this.response.end();
  }

  /**
   * Ends a failed answer whose headers are sent: sends `events` as the last ones, or closes the connection within a large event. If the
   * headers are not sent, it does nothing, and the caller sends an error response.
   */
  fail(...events: readonly unknown[]): void {
    if (this.response.destroyed || !this.response.headersSent) return;
    if (this.isWithin) {
      this.response.destroy();
      return;
    }
    this.response.end(this.textOf(events));
  }

  private begin(): void {
    if (this.response.headersSent || this.response.destroyed) return;
    this.response.writeHead(200, {
      "content-type": this.format.contentType,
      "cache-control": "no-store",
      "x-accel-buffering": "no", // tells proxies not to buffer
      "x-content-type-options": "nosniff",
    });
  }

  private textOf(events: readonly unknown[]): string {
    const { before, after } = this.format;
    return events.map((event) => before(event) + dataOf(event) + after).join("");
  }

  private async write(text: string | Uint8Array): Promise<void> {
    // Several choices write to the stream. Each waits while another one drains, so that pending data does not
    // accumulate.
    while (this.draining) await this.draining;
    this.begin();
    this.draining = writeWithBackpressure(this.response, text, this.waiting).finally(() => {
      this.draining = undefined;
    });
    await this.draining;
  }
}
