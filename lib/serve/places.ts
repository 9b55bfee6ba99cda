import { inSlices, type Slices } from "../core/slices.ts";
import { Refusal } from "./http-error.ts";

/** Limits the number of running and waiting answers. Further requests are refused, so that queues and memory stay bounded. */
export class Places {
  private readonly limit: number;
  private taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get count(): number {
    return this.taken;
  }

  /** Checks that there is a free place, before a request is read. @throws Refusal 429 */
  check(): void {
    if (this.taken >= this.limit) throw this.full(1);
  }

  /**
   * Takes `count` places at once. If no place is taken, any number is granted.
   * @returns a function that returns the places; further calls of it do nothing
   * @throws Refusal 429
   */
  take(count: number): () => void {
    if (this.taken > 0 && this.taken + count > this.limit) throw this.full(count);
    this.taken += count;
    let held = count;
    return () => {
      this.taken -= held;
      held = 0;
    };
  }

  private full(count: number): Refusal {
    const message = `server: expected at most ${this.limit} concurrent answers, got ${this.taken + count}: try again later`;
    return new Refusal(429, message, { code: "queue_full", headers: { "retry-after": "1" } });
  }
}

/** A semaphore: limits the number of concurrent jobs, in first-in first-out order. */
export class Turns {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** Runs `work` as soon as there is room. @throws the signal's reason, if it fires before */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.free > 0) this.free--;
    else await this.turn(signal);
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(begin), 1);
        reject(signal.reason);
      };
      this.waiting.push(begin);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}

/** Runs long work in slices as soon as there is room. @throws HeddleError ABORTED; the signal's reason */
export function inTurn<T>(turns: Turns, work: () => Slices<T>, signal: AbortSignal): Promise<T> {
  return turns.run(() => inSlices(work(), "request", signal), signal);
}
