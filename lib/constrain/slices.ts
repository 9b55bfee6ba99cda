// Long work of JavaScript's thread in pieces, between which others have their turn.
import { setImmediate } from "node:timers/promises";
import { throwIfAborted } from "../errors.ts";

/** Milliseconds after which the event loop gets its turn. */
const SLICE_MS = 3;

/** Runs a generator that yields every so often. @throws HeddleError ABORTED */
export async function inSlices<T>(work: Generator<void, T, undefined>, signal?: AbortSignal | undefined): Promise<T> {
  let begun = performance.now();
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() - begun < SLICE_MS) continue;
    await setImmediate();
    throwIfAborted(signal, "responseFormat");
    begun = performance.now();
  }
}
