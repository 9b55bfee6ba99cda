// Server-sent events, as OpenAI's clients read them, to a client that may not read them.
import type { ServerResponse } from "node:http";
import type { ErrorBody } from "./refusal.ts";

/** The client does not take its answer, or has gone. */
export class ClientLost extends Error {}

export class EventStream {
  private readonly response: ServerResponse;
  private readonly stallTimeout: number;
  private draining: Promise<void> | undefined;

  /** @param stallTimeout milliseconds that a client may read nothing while something waits for it */
  constructor(response: ServerResponse, stallTimeout: number) {
    this.response = response;
    this.stallTimeout = stallTimeout;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // proxies are to pass events on as they come
      "x-content-type-options": "nosniff",
    });
    response.flushHeaders();
  }

  /**
   * Sends some events, and waits while more is on its way than a socket's buffer holds: whoever makes the answer waits with it.
   * @throws ClientLost
   */
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
    const { response } = this;
    if (response.destroyed || response.writableEnded) throw new ClientLost();
    if (response.write(text)) return;
    this.draining = this.drained().finally(() => {
      this.draining = undefined;
    });
    await this.draining;
  }

  private drained(): Promise<void> {
    const { response, stallTimeout } = this;
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        response.off("drain", onDrain).off("close", onClose);
        act();
      };
      const onDrain = () => settle(resolve);
      const onClose = () => settle(() => reject(new ClientLost()));
      const timer = setTimeout(() => {
        settle(() => reject(new ClientLost()));
        response.destroy();
      }, stallTimeout);
      response.on("drain", onDrain).on("close", onClose);
    });
  }
}
