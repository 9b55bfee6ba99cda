// Waits for native work that runs off the event loop.
import type { NativeJob } from "../binding/tokenizer.ts";
import { checkSignal, HeddleError } from "../core/errors.ts";

/** Waits for a native job. If the signal fires, the job is cancelled. */
export async function finish<T>(job: NativeJob<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return job.promise;
  const cancel = () => job.cancel();
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  try {
    return await job.promise;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** Throws ABORTED if `signal` has fired. @throws HeddleError INVALID_ARGUMENT for an invalid signal */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  checkSignal(signal);
  if (signal?.aborted) throw new HeddleError("ABORTED", `${what}: aborted`, { cause: signal.reason });
}
