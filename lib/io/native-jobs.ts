// Waits for native work that runs off the event loop.
import type { NativeJob } from "../binding/tokenizer.ts";
import { cancellable } from "../core/abort-listeners.ts";

/** Waits for a native job. If the signal fires, the job is cancelled. */
export function finish<T>(job: NativeJob<T>, signal: AbortSignal | undefined): Promise<T> {
  return cancellable(job.promise, signal, () => job.cancel());
}
