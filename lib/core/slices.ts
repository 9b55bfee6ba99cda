// Runs long JavaScript work in slices and yields to the event loop between them.
import { throwIfAborted } from "./errors.ts";
import { lazily } from "./lazy.ts";

/** Milliseconds of synchronous work after which timers, sockets and signals get their turn. */
const SLICE_MS = 3;
const timers = lazily<typeof import("node:timers/promises")>("node:timers/promises");

/** When this turn's slice began, on the clock of performance.now(). */
let begun = Number.NEGATIVE_INFINITY;
/** Whether the turn in which the slice began is still running. */
let sameTurn = false;
/** Resumes paused work. The work that has waited longest comes first. */
const waiting: (() => void)[] = [];
let resumes = false;

function beginSlice(): void {
  begun = performance.now();
  if (sameTurn) return;
  sameTurn = true;
  void timers()
    .setImmediate()
    .then(() => {
      sameTurn = false;
    });
}

const isUsedUp = () => performance.now() - begun > SLICE_MS;

/**
 * Returns a promise that resolves in a later turn of the event loop if this turn's slice is used up, else undefined. All work shares one
 * slice per turn, so the slices of concurrent calls do not add up. The work that waited longest resumes first, and the rest of its slice
 * goes to the next.
 */
export function pause(): Promise<void> | undefined {
  if (!isUsedUp()) return undefined;
  if (!sameTurn) {
    beginSlice();
    return undefined;
  }
  const resumed = new Promise<void>((resolve) => waiting.push(resolve));
  if (!resumes) void resumeInTurns();
  return resumed;
}

async function resumeInTurns(): Promise<void> {
  resumes = true;
  while (waiting.length > 0) {
    await timers().setImmediate();
    beginSlice();
    do {
      waiting.shift()!();
      await undefined; // the resumed work runs until it ends, awaits something or has used up the slice
    } while (waiting.length > 0 && !isUsedUp());
  }
  resumes = false;
}

/** Long work as a generator. Each `yield` is a point at which it may pause. */
export type Slices<T> = Generator<void, T, undefined>;

/** Runs sliced work to its end and pauses when the slice is used up. `what` names the work in messages. @throws HeddleError ABORTED */
export async function inSlices<T>(
  work: Generator<void, T, undefined>,
  what: string,
  signal?: AbortSignal | undefined,
): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    const paused = pause();
    if (paused === undefined) continue;
    await paused;
    throwIfAborted(signal, what);
  }
}

/** Runs sliced work to its end without pausing. */
export function atOnce<T>(work: Generator<void, T, undefined>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/**
 * Yields to the event loop during long work. Each Pacer has its own time slice.
 *
 * @example
 * for (const document of documents) { work(document); if (pacer.isDue()) await pacer.rest(); }
 */
export class Pacer {
  #since = performance.now();
  #spent = 0;

  isDue(): boolean {
    return performance.now() - this.#since > SLICE_MS;
  }

  /** Resolves after one turn of the event loop. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }

  /**
   * Calls `work` with each item, and pauses when the slice is used up. Several short calls of `each` share one slice. Time between these
   * calls does not count, because the caller awaits other work meanwhile.
   */
  async each<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
    this.#since = performance.now() - this.#spent;
    for (const item of items) {
      work(item);
      if (this.isDue()) await this.rest();
    }
    this.#spent = performance.now() - this.#since;
  }
}
