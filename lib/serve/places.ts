import { inSlices, type Slices } from "../core/slices.ts";
import { Refusal } from "./http-error.ts";

/** Limits the number of running and waiting answers. More are refused, so that queues and memory stay bounded. */
export class Places {
  private readonly limit: number;
  private taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get count(): number {
    return this.taken;
  }

  /** Throws Refusal 429 if all places are taken, before a request is read. */
  check(): void {
    if (this.taken >= this.limit) throw this.full(1);
  }

  /**
   * Takes `count` places at once. A request that is alone has them, however many it wants.
   * @returns gives them back, the first time it is called
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
    const message = `server: expected at most ${this.limit} answers at once, got ${this.taken + count}: ask again later`;
    return new Refusal(429, message, { code: "queue_full", headers: { "retry-after": "1" } });
  }
}

/** Lets a few in at a time, in the order they came. */
export class Turns {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** Runs `work` when it is its turn. @throws the signal's reason, as soon as it fires before that */
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

/** Long work in slices, when it is its turn. @throws HeddleError ABORTED; the signal's reason */
export function inTurn<T>(turns: Turns, work: () => Slices<T>, signal: AbortSignal): Promise<T> {
  return turns.run(() => inSlices(work(), "request", signal), signal);
}
