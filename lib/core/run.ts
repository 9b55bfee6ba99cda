import { HeddleError } from "./errors.ts";

/** Methods, so that work of a kind is work of a wider kind. */
interface Outcome<Result> {
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

/**
 * Work that reports as it goes: an async iterable of its events, and a promise of its result. It starts when it is first
 * iterated or awaited. Leaving the loop early stops it, and the promise then rejects with ABORTED. (An AbortSignal stops it too, and
 * saves the last completed step.)
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

  /** @param what it is, for messages */
  constructor(start: () => AsyncGenerator<Event, Result, void>, what = "run") {
    this.start = start;
    this.what = what;
    let outcome!: Outcome<Result>;
    this.settled = new Promise<Result>((resolve, reject) => {
      outcome = { resolve, reject };
    });
    this.outcome = outcome;
    this.settled.catch(() => undefined); // a run that is only iterated reports its failure there
  }

  /** Its events as they come; it ends with the result, or throws what went wrong. */
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
      // Left by break or by a throw of the loop's own; else it is settled, and this changes nothing.
      this.abandon();
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited for its result
  then<A = Result, B = never>(
    fulfilled?: ((value: Result) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: what Promise says of a reason
    rejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.drain();
    return this.settled.then(fulfilled, rejected);
  }

  /** As a promise's. */
  // biome-ignore lint/suspicious/noExplicitAny: what Promise says of a reason
  catch<B = never>(rejected?: ((reason: any) => B | PromiseLike<B>) | null): Promise<Result | B> {
    return this.then(null, rejected);
  }

  /** As a promise's. */
  finally(settled?: (() => void) | null): Promise<Result> {
    return this.then().finally(settled);
  }

  /** @internal Reads it to its end where nobody does. */
  protected drain(): void {
    if (!this.generator) readAll(this);
  }

  /** @internal It will have no result, unless it has one. */
  protected abandon(): void {
    const { what } = this;
    const message = `${what}: its loop was left before the end, so that it has no result`;
    this.outcome.reject(new HeddleError("ABORTED", message));
  }
}

/** Reads something to its end; what goes wrong there is told to whoever awaits it. */
export function readAll(steps: AsyncIterable<unknown>): void {
  void (async () => {
    for await (const _ of steps);
  })().catch(() => undefined);
}
