import { HeddleError } from "../errors.ts";

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
  private generator: AsyncGenerator<Event, Result, void> | undefined;
  private readonly settled: Promise<Result>;
  private resolve!: (result: Result) => void;
  private reject!: (reason: unknown) => void;

  constructor(start: () => AsyncGenerator<Event, Result, void>) {
    this.start = start;
    this.settled = new Promise<Result>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.settled.catch(() => undefined); // a run that is only iterated reports its failure there
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Event, Result, void> {
    this.generator ??= this.start();
    try {
      const result = yield* this.generator;
      this.resolve(result);
      return result;
    } catch (error) {
      this.reject(error);
      throw error;
    } finally {
      // Left by break or by a throw of the loop's own; else it is settled, and this changes nothing.
      this.reject(new HeddleError("ABORTED", "run: its loop was left before the end, so that it has no result"));
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited for its result
  then<A = Result, B = never>(
    fulfilled?: ((value: Result) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (!this.generator) {
      void (async () => {
        for await (const _ of this);
      })().catch(() => undefined);
    }
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
}
