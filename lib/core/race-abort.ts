import { onAbort } from "./abort-listeners.ts";
import { checkSignal, HeddleError } from "./errors.ts";

/** Returns the ABORTED error for a fired signal. `what` names the work in the message. */
export function aborted(signal: AbortSignal, what = "model"): HeddleError {
  return new HeddleError("ABORTED", `${what}: aborted by its signal`, { cause: signal.reason });
}

/** Throws ABORTED if `signal` has fired. @throws HeddleError INVALID_ARGUMENT for an invalid signal */
export function throwIfAborted(signal: AbortSignal | undefined, what?: string): void {
  checkSignal(signal);
  if (signal?.aborted) throw aborted(signal, what);
}

/**
 * Settles like `work`, or rejects with ABORTED as soon as the signal fires. A native run checks its abort flag only between nodes, which
 * may be late for a caller who waits.
 */
export function raceAbort<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(aborted(signal));
    let forget: (() => void) | undefined;
    // Subscribe first: if the signal is invalid, nobody else handles a rejection of the work.
    work.then(resolve, reject).finally(() => forget?.());
    if (signal.aborted) stop();
    else forget = onAbort(signal, stop);
  });
}
