// Limits on rendering chat templates, which are untrusted.
import { lazily } from "../../../core/lazy.ts";
import type { Slices } from "../../../core/slices.ts";
import { TimeoutError, withinTime } from "./watchdog.ts";

/** The limits of renderings. */
export const renderLimits = {
  /** Maximum time of all renderings of one call together. */
  milliseconds: 1000,
  /** Maximum number of bytes of all values that one rendering creates. It bounds the memory in use. */
  bytes: 64 << 20,
  /** Maximum number of evaluated statements and expressions. */
  steps: 5_000_000,
  /** Maximum length of any string in UTF-16 units, including the output. */
  characters: 1 << 24,
  /** Maximum length in UTF-16 units of a string that is split into characters or matches. */
  taken: 1 << 21,
  /** Maximum number of elements of any array. */
  elements: 100_000,
  /** Maximum number of elements of `range(…)`. */
  range: 10_000,
} as const;

/** Estimated bytes of values. */
export const sizes = {
  /** A UTF-16 unit of a string. */
  unit: 2,
  /** An array element and its value. */
  element: 64,
  /** An array element whose value exists already. */
  shared: 16,
  /** A map without its entries, or an array element that is an array itself, such as a pair. */
  entry: 256,
} as const;

/** The error for an exceeded limit. */
export class LimitError extends Error {}

/** Bytes left for the rendering whose slice is running. */
let left = Number.POSITIVE_INFINITY;

/** Counts bytes that will be allocated. @throws LimitError */
export function spend(bytes: number): void {
  left -= bytes;
  if (!(left >= 0)) throw new LimitError(`values of more than ${renderLimits.bytes >> 20} MB together`);
}

/** Gives the bytes of a discarded value back to the budget. */
export function giveBack(bytes: number): void {
  left += bytes;
}

/** Counts a string of `length` UTF-16 units that will be created. @throws LimitError */
export function spendText(length: number): void {
  if (!(length <= renderLimits.characters))
    throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
  spend(sizes.unit * length);
}

/** Checks that a string is short enough to be split. @throws LimitError */
export function checkTaken(text: string): void {
  if (text.length > renderLimits.taken)
    throw new LimitError(`a text of more than ${renderLimits.taken} characters to split`);
}

/** Checks the number of elements of an array. @throws LimitError */
export function checkElements(count: number): void {
  if (!(count <= renderLimits.elements))
    throw new LimitError(`an array of more than ${renderLimits.elements} elements`);
}

/**
 * Milliseconds of rendering after which a slice ends. Starting a slice takes about a tenth of a millisecond, for the watchdog. The slice of
 * core/slices.ts belongs to a turn of the event loop and to all work in it. A synchronous rendering stays in one turn, and would start a
 * slice at every check after the turn's slice is used up. So a rendering has its own clock, which starts with each of its slices.
 */
const RENDER_SLICE_MS = 5;

/** When the current slice of rendering began, on the clock of performance.now(). */
let sliceBegun = Number.NEGATIVE_INFINITY;

/** Whether a rendering should yield. */
export function isSliceOver(): boolean {
  return performance.now() - sliceBegun > RENDER_SLICE_MS;
}

/** Maximum number of tries of a rendering that timed out because other programs kept the processor busy. */
const MAX_TRIES = 4;
/** A rendering that timed out with at most this many milliseconds of processor time was mostly waiting for a processor. */
const STARVED_MS = 100;

const fs = lazily<typeof import("node:fs")>("node:fs");
/** Duration in milliseconds of a kernel tick in /proc (USER_HZ is 100). */
const TICK_MS = 10;

/**
 * Returns the processor time of this thread in milliseconds. The time of other threads must not be included, because they may encode texts
 * or run a model meanwhile. Where the runtime does not report a thread's time, returns an upper bound: the time of the whole process, or elapsed
 * time.
 */
function processorTime(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  const used = threadCpuUsage?.();
  if (used) return (used.user + used.system) / 1000;
  return threadTicks() ?? processTime();
}

function processTime(): number {
  const used = process.cpuUsage?.();
  return used ? (used.user + used.system) / 1000 : performance.now();
}

/** Processor time of this thread as Linux reports it; undefined elsewhere. */
function threadTicks(): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const line = fs().readFileSync("/proc/thread-self/stat", "latin1");
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" "); // a thread's name may contain any character
    const ticks = Number(fields[11]) + Number(fields[12]); // user and system
    return Number.isFinite(ticks) ? ticks * TICK_MS : undefined;
  } catch {
    return undefined;
  }
}

/** The time limit shared by all renderings of one call. */
export class RenderTime {
  private left: number = renderLimits.milliseconds;

  /** Runs `body` synchronously. @throws TimeoutError when the time is used up */
  private run<T>(body: () => T): T {
    if (this.left <= 0) throw this.late();
    const begun = performance.now();
    try {
      return withinTime(Math.ceil(this.left), body);
    } finally {
      this.left -= performance.now() - begun;
    }
  }

  /**
   * Runs a rendering in slices with its own byte budget. Pauses between slices do not count. If its time is up although
   * the thread hardly ran, as on a busy machine, the rendering starts over.
   * @throws TimeoutError
   */
  *rendering<T>(make: () => Slices<T>): Slices<T> {
    for (let tries = 1; ; tries++) {
      const [before, begun] = [this.left, processorTime()];
      try {
        return yield* this.once(make());
      } catch (error) {
        const used = processorTime() - begun;
        if (!(error instanceof TimeoutError) || before <= used || used > STARVED_MS || tries === MAX_TRIES) throw error;
        this.left = before - used;
        yield;
      }
    }
  }

  private *once<T>(work: Slices<T>): Slices<T> {
    let bytes: number = renderLimits.bytes;
    for (;;) {
      const outer = left;
      left = bytes;
      sliceBegun = performance.now();
      let step: IteratorResult<void, T>;
      try {
        step = this.run(() => work.next());
      } finally {
        // Restore the budget here, outside the watchdog: it ends work without running the work's `finally` blocks.
        bytes = left;
        left = outer;
      }
      if (step.done) return step.value;
      yield;
    }
  }

  /**
   * Runs sliced work. Pauses between slices do not count, nor does time in which the thread waited for a processor.
   * @throws TimeoutError when the time is used up
   */
  *slices<T>(work: Slices<T>): Slices<T> {
    const [before, started] = [this.left, processorTime()];
    for (;;) {
      const begun = performance.now();
      const step = work.next();
      this.left -= performance.now() - begun;
      if (step.done) return step.value;
      if (this.left <= 0) this.left = before - (processorTime() - started);
      if (this.left <= 0) throw this.late();
      yield;
    }
  }

  private late(): TimeoutError {
    return new TimeoutError(`took more than ${renderLimits.milliseconds} ms`);
  }
}
