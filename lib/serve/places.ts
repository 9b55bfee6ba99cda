import { Refusal } from "./refusal.ts";

/** How many answers may be under way or wait at once; more are refused, so that nobody waits for ever and nothing grows. */
export class Places {
  private readonly limit: number;
  private taken = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get count(): number {
    return this.taken;
  }

  /**
   * Takes `count` places at once. A request that is alone has them, however many it wants.
   * @returns gives them back, the first time it is called
   * @throws Refusal 429
   */
  take(count: number): () => void {
    if (this.taken > 0 && this.taken + count > this.limit)
      throw new Refusal(
        429,
        `server: expected at most ${this.limit} answers at once, got ${this.taken + count}: ask again later`,
        {
          code: "queue_full",
          headers: { "retry-after": "1" },
        },
      );
    this.taken += count;
    let held = count;
    return () => {
      this.taken -= held;
      held = 0;
    };
  }
}

/** Lets a few in at a time, in the order they came. */
export class Turns {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.free = atOnce;
  }

  /** Runs `work` when it is its turn, unless the signal has fired by then. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.free--;
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}
