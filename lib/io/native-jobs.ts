// Waiting for native work that runs away from the event loop.
import type { NativeJob } from "../binding/tokenizer.ts";

/** Waits for a job of the addon; the signal cancels it. */
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
