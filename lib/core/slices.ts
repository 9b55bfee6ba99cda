// Runs long JavaScript work in slices and yields to the event loop between them.
import { throwIfAborted } from "./errors.ts";

/** Milliseconds of synchronous work after which timers, sockets and signals get their turn. */
export const SLICE_MS = 3;

/** Resolves in the next turn of the event loop. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Returns the milliseconds since the process began. `performance` would load six modules of Node when a tokenizer is loaded. */
const now = () => process.uptime() * 1000;

/** When this turn's slice began, by now(). */
let begun = Number.NEGATIVE_INFINITY;
/** Whether the turn in which the slice began is still running. */
let sameTurn = false;
/** Resumes paused work. The work that has waited longest comes first, after urgent work. */
const waiting: (() => void)[] = [];
let resumes = false;

function beginSlice(): void {
  begun = now();
  if (sameTurn) return;
  sameTurn = true;
  void nextTurn().then(() => {
    sameTurn = false;
  });
}

const isUsedUp = () => now() - begun > SLICE_MS;

/**
 * Returns a promise that resolves in a later turn of the event loop if this turn's slice is used up, else undefined. All work shares one
 * slice per turn, so the slices of concurrent calls do not add up. The work that waited longest resumes first, and the rest of its slice
 * goes to the next.
 *
 * @example
 * for (const document of documents) {
 *   work(document);
 *   await pause();
 * }
 */
export function pause(): Promise<void> | undefined {
  return paused(false);
}

function paused(isUrgent: boolean): Promise<void> | undefined {
  if (!isUsedUp()) return undefined;
  if (!sameTurn) {
    beginSlice();
    return undefined;
  }
  const resumed = new Promise<void>((resolve) => (isUrgent ? waiting.unshift(resolve) : waiting.push(resolve)));
  if (!resumes) void resumeInTurns();
  return resumed;
}

async function resumeInTurns(): Promise<void> {
  resumes = true;
  while (waiting.length > 0) {
    await nextTurn();
    beginSlice();
    do {
      waiting.shift()!();
      await undefined; // the resumed work runs until it ends, awaits something or has used up the slice
    } while (waiting.length > 0 && !isUsedUp());
  }
  resumes = false;
}

/**
 * Calls `work` with each item, and pauses when the slice is used up. It resumes before all other work: a model's decoding serves many
 * calls, and must not queue behind each of them.
 */
export async function eachUrgently<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
  for (const item of items) {
    work(item);
    const resumed = paused(true);
    if (resumed) await resumed;
  }
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
    const resumed = pause();
    if (resumed === undefined) continue;
    await resumed;
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
