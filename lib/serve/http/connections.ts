// Tracks the answers that a server is sending, and closes its connections when the server closes.
import type { Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Tracks the answers in progress of a server. Create it before the server gets its first request. */
export class Connections {
  private readonly server: Server;
  private readonly answers = new Set<ServerResponse>();
  private closing = false;

  constructor(server: Server) {
    this.server = server;
    server.prependListener("request", (_request, response) => this.add(response));
  }

  /** Returns whether an answer is being written on a connection. */
  isAnswering(socket: Socket): boolean {
    for (const { socket: other } of this.answers) if (other === socket) return true;
    return false;
  }

  /**
   * Closes idle connections now, and the others after their answers. Answers whose headers are not sent yet get
   * `connection: close`. A proxy then sends its next request elsewhere.
   */
  close(): void {
    this.closing = true;
    for (const response of this.answers) response.shouldKeepAlive = false;
    this.server.closeIdleConnections();
  }

  private add(response: ServerResponse): void {
    this.answers.add(response);
    if (this.closing) response.shouldKeepAlive = false;
    response.once("close", () => {
      this.answers.delete(response);
      // Node keeps this connection open if the headers, with keep-alive, were sent before `close()` was called, so close
      // it here.
      if (this.closing) this.server.closeIdleConnections();
    });
  }
}
