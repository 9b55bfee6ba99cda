import { HeddleError } from "../core/errors.ts";
import { Run, readAll } from "../core/run.ts";
import type { Piece } from "../inference/sequence.ts";

/**
 * A streaming answer. Iterate over its pieces, await the complete result, or do both: first the loop, then the result
 * with its usage, timings and finishReason. It starts on the first read, and its pieces can be read once. Leaving the
 * loop early ends the answer, and awaiting it then rejects with ABORTED. It is also a generator with `next()`. An async
 * function that returns a reply awaits it. Return `{ reply }` instead to pass on the stream.
 *
 * @example
 * const reply = model.generate("Once upon a time", { maxTokens: 40 });
 * for await (const piece of reply) process.stdout.write(piece.text);
 * const { usage, finishReason } = await reply;
 */
export class Reply<Whole, Part extends Piece = Piece>
  extends Run<Part, Whole>
  implements AsyncGenerator<Part, Whole, undefined>
{
  private readonly pieces = super[Symbol.asyncIterator]();
  /** Whether a loop or an await has started reading the reply. */
  private read = false;
  private readonly unawaitable: (() => HeddleError) | undefined;

  /** @internal @param unawaitable the error for awaiting a reply that has several results */
  constructor(start: () => AsyncGenerator<Part, Whole, undefined>, unawaitable?: () => HeddleError) {
    super(start, "reply");
    this.unawaitable = unawaitable;
  }

  /**
   * Returns the next piece. After the last one, `value` is the complete result and `done` is true. @throws HeddleError like the call that
   * made the reply
   */
  next(): Promise<IteratorResult<Part, Whole>> {
    return this.pieces.next();
  }

  /** Ends the answer early. Awaiting it then rejects with ABORTED. Has no effect on a complete answer. */
  async return(value: Whole | PromiseLike<Whole>): Promise<IteratorResult<Part, Whole>> {
    const last = await this.pieces.return(value);
    this.abandon(); // the answer may not have started
    return last;
  }

  /** Ends the answer like `return`, and rejects with `error`. Awaiting the reply then rejects with it too. */
  async throw(error: unknown): Promise<IteratorResult<Part, Whole>> {
    try {
      return await this.pieces.throw(error);
    } catch (thrown) {
      this.fail(thrown); // the answer may not have started
      throw thrown;
    }
  }

  /** @throws HeddleError INVALID_ARGUMENT if the reply was iterated or awaited before */
  override [Symbol.asyncIterator](): AsyncGenerator<Part, Whole, undefined> {
    if (this.read)
      throw new HeddleError("INVALID_ARGUMENT", "reply: its pieces can be read once, and only before it is awaited");
    this.read = true;
    return this;
  }

  /** `return`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return(undefined as Whole);
  }

  // biome-ignore lint/suspicious/noThenProperty: a reply is awaited for its complete result
  override then<A = Whole, B = never>(
    fulfilled?: ((value: Whole) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: as in the type of Promise.then
    rejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (!this.unawaitable) return super.then(fulfilled, rejected);
    return Promise.reject<Whole>(this.unawaitable()).then(fulfilled, rejected);
  }

  /** @internal Reads to the end, unless a loop or an await already reads. */
  protected override drain(): void {
    if (this.read) return;
    readAll(this);
  }
}
