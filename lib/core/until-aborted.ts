import { onAbort } from "./abort-listeners.ts";
import { aborted, checkAttached, checkSignal, type HeddleError } from "./errors.ts";

/**
 * Yields the values of `source` until it ends. If `signal` fires, throws at once, even while the next value is pending. It then calls the
 * source's `return` without waiting for it.
 * @param what name of the work in messages
 * @throws HeddleError ABORTED; INVALID_ARGUMENT for an invalid signal or a detached array; errors of `source`
 */
export async function* untilAborted<T>(
  source: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal | undefined,
  what: string,
): AsyncGenerator<T, void, undefined> {
  checkSignal(signal);
  checkAttached(what, source);
  if (!signal) {
    yield* source;
    return;
  }
  // One listener serves all values. Racing each value against one promise would keep a reaction per value alive.
  let stop: ((error: HeddleError) => void) | undefined;
  /** Settles like the result of `call`, or rejects with ABORTED first. Later results and rejections are ignored. */
  const orAborted = <R>(call: () => R | PromiseLike<R>): Promise<R> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) throw aborted(signal, what);
      stop = reject;
      Promise.resolve(call()).then(resolve, reject);
    });
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  let isOpen = true;
  const forget = onAbort(signal, () => stop?.(aborted(signal, what)));
  try {
    for (;;) {
      const step = await orAborted<IteratorResult<T>>(() => iterator.next());
      if (step.done) {
        isOpen = false;
        return;
      }
      // Await the value: a sync iterable may contain promises, as in `for await`.
      yield await orAborted<T>(() => step.value);
    }
  } catch (error) {
    isOpen = signal.aborted; // otherwise the source has failed and needs no return()
    throw error;
  } finally {
    try {
      if (isOpen && signal.aborted) void leave(iterator);
      else if (isOpen) await orAborted(() => iterator.return?.());
    } finally {
      forget();
    }
  }
}

async function leave(iterator: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // The caller no longer needs the source, so its error is ignored.
  }
}
