// Waits for native work that runs off the event loop.
import type { NativeJob } from "../binding/tokenizer.ts";

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
