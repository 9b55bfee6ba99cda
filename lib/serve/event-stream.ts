// Sends server-sent events in OpenAI's format. The client may be slow or stop reading.
import type { ServerResponse } from "node:http";
import type { ErrorBody } from "./http-error.ts";
import { type Waiting, written } from "./written.ts";

/** A stream of server-sent events. */
export class EventStream {
  private readonly response: ServerResponse;
  private readonly waiting: Waiting;
  private draining: Promise<void> | undefined;

  constructor(response: ServerResponse, waiting: Waiting) {
    this.response = response;
    this.waiting = waiting;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // tells proxies not to buffer
      "x-content-type-options": "nosniff",
    });
    response.flushHeaders();
  }

  /** Sends events in order. @throws as `written` */
  async send(events: readonly unknown[]): Promise<void> {
    if (events.length === 0) return;
    await this.write(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
  }

  /** Ends a complete answer. */
  async done(): Promise<void> {
    await this.write("data: [DONE]\n\n");
    this.response.end();
  }

  /** Ends a failed answer. Its status has been sent already, so the error is sent as an event. */
  fail(error: ErrorBody): void {
    if (this.response.destroyed) return;
    this.response.end(`data: ${JSON.stringify(error)}\n\n`);
  }

  private async write(text: string): Promise<void> {
    // Several choices write to the stream. Each waits while another one drains, so that pending data does not
    // accumulate.
    while (this.draining) await this.draining;
    this.draining = written(this.response, text, this.waiting).finally(() => {
      this.draining = undefined;
    });
    await this.draining;
  }
}
