// Long work of JavaScript's thread in pieces, between which others have their turn.
import { throwIfAborted } from "../errors.ts";
import { lazily } from "./lazy.ts";

/** Milliseconds after which the event loop gets its turn. */
const SLICE_MS = 3;

const timers = lazily<typeof import("node:timers/promises")>("node:timers/promises");

/** Work that yields every so often. */
export type Slices<T> = Generator<void, T, undefined>;

/** Runs a generator that yields every so often; `what` names the work. @throws HeddleError ABORTED */
export async function inSlices<T>(
  work: Generator<void, T, undefined>,
  what: string,
  signal?: AbortSignal | undefined,
): Promise<T> {
  let begun = performance.now();
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() - begun < SLICE_MS) continue;
    await timers().setImmediate();
    throwIfAborted(signal, what);
    begun = performance.now();
  }
}

/** Runs such a generator without a pause. */
export function atOnce<T>(work: Generator<void, T, undefined>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}
