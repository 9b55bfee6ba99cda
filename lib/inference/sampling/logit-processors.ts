import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { callbackContext, withIndex } from "../callback-context.ts";
import type { LogitContext, LogitProcessor } from "../generation-options.ts";

/**
 * Runs processors on logits, in order. Processors change logits in place. A returned promise or array is rejected,
 * because its changes would be lost.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function processLogits(
  logits: Float32Array,
  processors: readonly LogitProcessor[],
  context: LogitContext,
): void {
  for (const change of processors) {
    const returned: unknown = change(logits, callbackContext(context));
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

/**
 * Returns the number of steps, from the next one on, in which no processor changes logits. Infinity without
 * processors.
 * @throws HeddleError INVALID_ARGUMENT unless every `idleSteps` returns a number of at least 0
 */
export function idleSteps(processors: readonly LogitProcessor[], context: LogitContext): number {
  let least = Number.POSITIVE_INFINITY;
  for (const processor of processors) {
    const steps: unknown = processor.idleSteps?.(callbackContext(context)) ?? 0;
    if (typeof steps !== "number" || !(steps >= 0))
      throw invalidArgument("logitProcessors.idleSteps", "a function that returns a number of at least 0", steps);
    least = Math.min(least, steps);
  }
  return least;
}

/** Returns a processor whose context has another `index`. */
export function placedProcessor(processor: LogitProcessor, index: number): LogitProcessor {
  const own: LogitProcessor = (logits, context) => processor(logits, withIndex(context, index));
  if (processor.idleSteps) own.idleSteps = (context) => processor.idleSteps!(withIndex(context, index));
  return own;
}
