import { describe, HeddleError } from "../../core/errors.ts";
import { ownContext } from "../callback-context.ts";
import type { LogitContext, LogitProcessor } from "../generation-options.ts";

/**
 * Runs processors on logits, in order. Rejects a returned promise or array, whose changes would be lost, because processors change logits
 * in place.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function processLogits(
  logits: Float32Array,
  processors: readonly LogitProcessor[],
  context: LogitContext,
): void {
  for (const change of processors) {
    const returned: unknown = change(logits, ownContext(context));
    if (typeof returned !== "object" || returned === null || returned === logits) continue;
    const late = typeof (returned as PromiseLike<unknown>).then === "function";
    // Ignore a rejection of the promise, because the error below is what the caller gets.
    if (late) Promise.resolve(returned).catch(() => undefined);
    if (late || Array.isArray(returned) || ArrayBuffer.isView(returned))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `logitProcessors: expected a function that changes the logits in place before it returns, got one that returns ${late ? "a promise" : describe(returned)}`,
      );
  }
}
