import type { ServerResponse } from "node:http";
import { onAbort } from "../../core/abort-listeners.ts";

/** The error for a client that has disconnected or stopped reading. */
export class ClientLost extends Error {}

/** Options of `writeWithBackpressure`. */
export interface DrainOptions {
  /** Milliseconds for which a client may stop reading while data is pending. */
  stallTimeout: number;
  /** Aborts the waiting. */
  signal: AbortSignal;
}

/**
 * Sends bytes of an answer, and waits while the socket's buffer is full (backpressure).
 * @throws ClientLost; the signal's reason
 */
export async function writeWithBackpressure(
  response: ServerResponse,
  bytes: string | Uint8Array,
  waiting: DrainOptions,
): Promise<void> {
  if (response.destroyed || response.writableEnded) throw new ClientLost();
  if (response.write(bytes)) return;
  waiting.signal.throwIfAborted();
  await drained(response, waiting);
}

function drained(response: ServerResponse, { stallTimeout, signal }: DrainOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer);
      forget();
      response.off("drain", onDrain).off("close", onClose);
      act();
    };
    const onDrain = () => settle(resolve);
    const onClose = () => settle(() => reject(new ClientLost()));
    const timer = setTimeout(() => {
      settle(() => reject(new ClientLost()));
      response.destroy();
    }, stallTimeout);
    const forget = onAbort(signal, () => settle(() => reject(signal.reason)));
    response.on("drain", onDrain).on("close", onClose);
  });
}
