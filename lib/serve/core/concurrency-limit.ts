import { Refusal } from "../http/http-error.ts";

/** Limits the number of running and waiting answers. Further requests are refused, so that queues and memory stay bounded. */
export class ConcurrencyLimit {
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
   * Takes `count` places at once. If none is taken, any number is granted, so that a request with more answers than the limit can run.
   * @returns a function that frees the places; further calls of it do nothing
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
