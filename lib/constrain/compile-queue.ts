// Schedules compilations. Concurrent compilations block the event loop no longer than a single one, and use little more
// memory.
import { throwIfAborted } from "../core/errors.ts";
import { nextTurn, SLICE_MS, type Slices } from "../core/slices.ts";

/** Time slice in milliseconds of each compilation if there are several. */
const SHARE_MS = 1;
/** Milliseconds after which a compilation counts as long. Usual schemas take less. */
const LONG_MS = 20;

class Job<T> {
  readonly result: Promise<T>;
  private readonly work: Slices<T>;
  private readonly what: string;
  private readonly signal: AbortSignal | undefined;
  private taken = 0;
  private settle!: { resolve: (value: T) => void; reject: (error: unknown) => void };

  constructor(work: Slices<T>, what: string, signal: AbortSignal | undefined) {
    this.work = work;
    this.what = what;
    this.signal = signal;
    this.result = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
  }

  get isLong(): boolean {
    return this.taken > LONG_MS;
  }

  /** Ends the job if its signal has fired. @returns whether it has ended */
  dropIfAborted(): boolean {
    try {
      throwIfAborted(this.signal, this.what);
      return false;
    } catch (error) {
      this.settle.reject(error);
      return true;
    }
  }

  /** Runs the job until a point in time. @returns whether it has ended, by success or failure */
  advance(until: number): boolean {
    const begun = performance.now();
    try {
      do {
        const step = this.work.next();
        if (step.done) {
          this.settle.resolve(step.value);
          return true;
        }
      } while (performance.now() < until);
    } catch (error) {
      this.settle.reject(error);
      return true;
    }
    this.taken += performance.now() - begun;
    return false;
  }
}

/** Short jobs are interleaved. Only the first long job makes progress, so that only one uses much memory. */
let short: Job<unknown>[] = [];
let long: Job<unknown>[] = [];
let isRunning = false;

/**
 * Runs a compilation in slices, interleaved with the other pending compilations.
 * @param what name of the work in messages
 * @throws HeddleError ABORTED, within one turn of the event loop; any error of the work
 */
export function compileInTurns<T>(work: Slices<T>, what: string, signal: AbortSignal | undefined): Promise<T> {
  const job = new Job(work, what, signal);
  short.push(job as Job<unknown>);
  if (!isRunning) void run();
  return job.result;
}

/**
 * Runs all jobs in one loop. In each turn of the event loop, the jobs share one slice. It is additional to the slice of `pause`, which would
 * treat all jobs together as a single call.
 * The first slice runs synchronously, so that small jobs finish without yielding to the event loop.
 */
async function run(): Promise<void> {
  isRunning = true;
  while (short.length + long.length > 0) {
    short = short.filter((job) => !job.dropIfAborted());
    long = long.filter((job) => !job.dropIfAborted());
    const end = performance.now() + SLICE_MS;
    for (let i = 0; short.length + long.length > 0; i++) {
      const now = performance.now();
      if (now >= end) break;
      // Every third slice goes to the long job.
      const queue = short.length === 0 || (i % 3 === 2 && long.length > 0) ? long : short;
      const job = queue.shift()!;
      const share = short.length + long.length > 0 ? SHARE_MS : SLICE_MS;
      if (job.advance(Math.min(end, now + share))) continue;
      if (queue === long) long.unshift(job);
      else (job.isLong ? long : short).push(job);
    }
    await nextTurn();
  }
  isRunning = false;
}
