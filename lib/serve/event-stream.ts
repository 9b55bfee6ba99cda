// Server-sent events, as OpenAI's clients read them, to a client that may not read them.
import type { ServerResponse } from "node:http";
import type { ErrorBody } from "./http-error.ts";
import { type Waiting, written } from "./written.ts";

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
      "x-accel-buffering": "no", // proxies are to pass events on as they come
      "x-content-type-options": "nosniff",
    });
    response.flushHeaders();
  }

  /** Sends some events, in their order. @throws as `written` */
  async send(events: readonly unknown[]): Promise<void> {
    if (events.length === 0) return;
    await this.write(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
  }

  /** The end of a whole answer. */
  async done(): Promise<void> {
    await this.write("data: [DONE]\n\n");
    this.response.end();
  }

  /** The end of one that went wrong: its status has been sent, so that only an event can say it. */
  fail(error: ErrorBody): void {
    if (this.response.destroyed) return;
    this.response.end(`data: ${JSON.stringify(error)}\n\n`);
  }

  private async write(text: string): Promise<void> {
    // Several choices share the stream: none adds to what waits already.
    while (this.draining) await this.draining;
    this.draining = written(this.response, text, this.waiting).finally(() => {
      this.draining = undefined;
    });
    await this.draining;
  }
}
