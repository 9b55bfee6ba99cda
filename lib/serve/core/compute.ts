// Computations that are not generation, such as scores of texts.
import { onAbort } from "../../core/abort-listeners.ts";
import type { Exchange } from "./context.ts";

/** Maximum number of texts of a request. */
export const MAX_TEXTS = 2048;

/** Runs a computation within the limit on concurrent embedding runs. @throws as `holdingPlace` */
export function computing<T>(exchange: Exchange, work: () => Promise<T>): Promise<T> {
  const { service, signal } = exchange;
  return holdingPlace(exchange, () => service.embedding.run(work, signal));
}

/**
 * Runs work that counts towards the limit on running and waiting answers, until it ends or the client disconnects.
 * @throws Refusal 429; the signal's reason; as `work`
 */
export async function holdingPlace<T>({ service, signal }: Exchange, work: () => Promise<T>): Promise<T> {
  const release = service.concurrency.take(1);
  const forget = onAbort(signal, release);
  try {
    const result = await work();
    signal.throwIfAborted();
    return result;
  } finally {
    forget();
    release();
  }
}
