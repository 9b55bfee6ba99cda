import { HeddleError } from "../core/errors.ts";
import { Run, readAll } from "../core/run.ts";
import type { Piece } from "../inference/sequence.ts";

/**
 * An answer under way. Iterate over its pieces as they come, await it for the whole, or both: first the loop, then the whole with its usage,
 * timings and finishReason. It starts when it is first read, and its pieces are read once. Leaving the loop early ends the answer, and the
 * whole then rejects with ABORTED. As a generator it can be stepped through by `next()` too. Whatever is awaitable is awaited where an async
 * function returns it: one that is to hand on the pieces returns `{ reply }`.
 *
 * @example
 * const reply = model.generate("Once upon a time", { maxTokens: 40 });
 * for await (const piece of reply) process.stdout.write(piece.text);
 * const { usage, finishReason } = await reply;
 */
export class Reply<Whole> extends Run<Piece, Whole> implements AsyncGenerator<Piece, Whole, undefined> {
  private readonly pieces = super[Symbol.asyncIterator]();
  /** Whether a loop reads it, or what awaits it does. */
  private read = false;
  private readonly unawaitable: (() => HeddleError) | undefined;

  /** @internal @param unawaitable why there is no whole, where there is none */
  constructor(start: () => AsyncGenerator<Piece, Whole, undefined>, unawaitable?: () => HeddleError) {
    super(start, "reply");
    this.unawaitable = unawaitable;
  }

  /** The next piece, or, behind the last one, the whole as `value` with `done`. @throws HeddleError as the call does that the reply is of */
  next(): Promise<IteratorResult<Piece, Whole>> {
    return this.pieces.next();
  }

  /** Ends the answer where it is: no more pieces come, and the whole, if it is awaited, rejects with ABORTED. Of a complete one it changes nothing. */
  async return(value: Whole | PromiseLike<Whole>): Promise<IteratorResult<Piece, Whole>> {
    const last = await this.pieces.return(value);
    this.abandon(); // it may not have begun
    return last;
  }

  /** Ends the answer as `return` does, and rejects with `error`; so does the whole. */
  async throw(error: unknown): Promise<IteratorResult<Piece, Whole>> {
    try {
      return await this.pieces.throw(error);
    } finally {
      this.abandon();
    }
  }

  /** @throws HeddleError INVALID_ARGUMENT where it has been iterated or awaited before */
  override [Symbol.asyncIterator](): AsyncGenerator<Piece, Whole, undefined> {
    if (this.read)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "reply: expected its pieces to be read once, before it is awaited, got a second reader",
      );
    this.read = true;
    return this;
  }

  /** `return`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return(undefined as Whole);
  }

  // biome-ignore lint/suspicious/noThenProperty: a reply is awaited for the whole
  override then<A = Whole, B = never>(
    fulfilled?: ((value: Whole) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: what Promise says of a reason
    rejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (!this.unawaitable) return super.then(fulfilled, rejected);
    return Promise.reject<Whole>(this.unawaitable()).then(fulfilled, rejected);
  }

  /** @internal What a loop reads comes to its end there. */
  protected override drain(): void {
    if (this.read) return;
    readAll(this);
  }
}
