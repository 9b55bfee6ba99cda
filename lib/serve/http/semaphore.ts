// Limits concurrent work, and runs long work on the event loop in slices.
import { onAbort } from "../../core/abort-listeners.ts";
import { inSlices, type Slices } from "../../core/slices.ts";

/** A semaphore: limits the number of concurrent jobs, in first-in first-out order. */
export class Semaphore {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** Runs `work` as soon as there is room. @throws the signal's reason, if the signal fires before that */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.free > 0) this.free--;
    else await this.turn(signal);
    try {
      return await work();
    } finally {
      // A waiting job gets this one's slot directly, so `free` stays as it is.
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        forget();
        resolve();
      };
      this.waiting.push(begin);
      const forget = onAbort(signal, () => {
        this.waiting.splice(this.waiting.indexOf(begin), 1);
        reject(signal.reason);
      });
    });
  }
}

/** Runs long work in slices as soon as there is room. @throws HeddleError ABORTED; the signal's reason */
export function inTurn<T>(semaphore: Semaphore, work: () => Slices<T>, signal: AbortSignal): Promise<T> {
  return semaphore.run(() => inSlices(work(), "request", signal), signal);
}
