import { HeddleError } from "./errors.ts";

/** The functions that settle a run's promise. They are methods, not properties, so that `Run` is covariant in its result. */
interface Outcome<Result> {
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

/**
 * A task that reports its progress: an async iterable of its events, and a promise of its result. It starts when it is first iterated or
 * awaited. Leaving the loop early stops the task, and its promise then rejects with ABORTED. Training stages also take an AbortSignal,
 * which stops them and saves the last completed step.
 *
 * @example
 * for await (const event of pretrain(model, options)) console.log(event.step);
 * const result = await pretrain(model, options);
 */
export class Run<Event, Result> implements AsyncIterable<Event>, PromiseLike<Result> {
  private readonly start: () => AsyncGenerator<Event, Result, void>;
  private readonly what: string;
  private generator: AsyncGenerator<Event, Result, void> | undefined;
  private readonly settled: Promise<Result>;
  private readonly outcome: Outcome<Result>;

  /** @param what name of the task, for messages */
  constructor(start: () => AsyncGenerator<Event, Result, void>, what = "run") {
    this.start = start;
    this.what = what;
    let outcome!: Outcome<Result>;
    this.settled = new Promise<Result>((resolve, reject) => {
      outcome = { resolve, reject };
    });
    this.outcome = outcome;
    this.settled.catch(() => undefined); // a caller that only iterates gets the error from the iterator
  }

  /** Iterates over the events. The iterator returns the result, or throws the run's error. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Event, Result, undefined> {
    this.generator ??= this.start();
    try {
      const result = yield* this.generator;
      this.outcome.resolve(result);
      return result;
    } catch (error) {
      this.outcome.reject(error);
      throw error;
    } finally {
      // If the loop was left by break or throw, reject the promise. Otherwise it is settled, and this has no effect.
      this.abandon();
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited for its result
  then<A = Result, B = never>(
    fulfilled?: ((value: Result) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: the type that Promise gives to a rejection's reason
    rejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.drain();
    return this.settled.then(fulfilled, rejected);
  }

  /** Like `Promise.prototype.catch`. */
  // biome-ignore lint/suspicious/noExplicitAny: the type that Promise gives to a rejection's reason
  catch<B = never>(rejected?: ((reason: any) => B | PromiseLike<B>) | null): Promise<Result | B> {
    return this.then(null, rejected);
  }

  /** Like `Promise.prototype.finally`. */
  finally(settled?: (() => void) | null): Promise<Result> {
    return this.then().finally(settled);
  }

  /** @internal Iterates to the end, unless the caller iterates. */
  protected drain(): void {
    if (!this.generator) readAll(this);
  }

  /** @internal Rejects the promise, unless it is settled already. */
  protected abandon(): void {
    const { what } = this;
    const message = `${what}: its loop was left early, so it has no result`;
    this.fail(new HeddleError("ABORTED", message));
  }

  /** @internal Rejects the promise with `reason`, unless it is settled already. */
  protected fail(reason: unknown): void {
    this.outcome.reject(reason);
  }
}

/** Iterates to the end. It ignores errors, because the promise of the result rejects with them. */
export function readAll(steps: AsyncIterable<unknown>): void {
  void (async () => {
    for await (const _ of steps);
  })().catch(() => undefined);
}
