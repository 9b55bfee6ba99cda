import { onAbort } from "./abort-listeners.ts";
import { aborted } from "./errors.ts";

/**
 * Settles like `work`, or rejects with ABORTED as soon as the signal fires. A native run checks its abort flag only between nodes, so `work`
 * itself may settle much later.
 * @param what name of the work in messages
 */
export function raceAbort<T>(work: Promise<T>, signal: AbortSignal | undefined, what?: string): Promise<T> {
  if (!signal) return work;
  return new Promise<T>((resolve, reject) => {
    let forget: (() => void) | undefined;
    // Subscribe to the work first. If `onAbort` throws for an invalid signal, nothing else handles a rejection of the work.
    work.then(resolve, reject).finally(() => forget?.());
    forget = onAbort(signal, () => reject(aborted(signal, what)));
  });
}
