import { inspect } from "node:util";

/**
 * Calls `end` when this process exits, and tells it whether an uncaught error is the reason. Node reports such an error only after this call,
 * which may end the process at once. So this function reports the error before the call.
 * @returns a function that cancels the call
 */
export function atProcessEnd(
  { rank, size }: { rank: number; size: number },
  end: (code: number, isCrash: boolean) => void,
): () => void {
  let isCrash = false;
  const report = (error: unknown) => {
    if (process.listenerCount("uncaughtException") > 0) return;
    isCrash = true;
    process.stderr.write(`rank ${rank} of ${size}: ${inspect(error)}\n`);
  };
  const exit = (code: number) => end(code, isCrash);
  process.on("uncaughtExceptionMonitor", report);
  process.once("exit", exit);
  return () => {
    process.off("uncaughtExceptionMonitor", report);
    process.off("exit", exit);
  };
}
