import type { Piece } from "./sequence.ts";

/** Number of unread pieces at which a sequence pauses. */
const MAX_PENDING = 64;

/**
 * The stream of one sequence's pieces from the generation loop to its reader. A slow reader pauses its sequence. A
 * reader that leaves (`cancel`, or the end of its `for await`) ends its sequence.
 */
export class PieceStream implements AsyncIterable<readonly Piece[]> {
  private pending: Piece[] = [];
  private ended = false;
  private error: unknown;
  private wake: (() => void) | undefined;
  private readonly onChange: (what: "cancelled" | "room") => void;
  private left = false;

  /** @param onChange called when the reader has left, and when there is room again */
  constructor(onChange: (what: "cancelled" | "room") => void) {
    this.onChange = onChange;
  }

  /** Whether the sequence must wait for the reader. */
  get isFull(): boolean {
    return this.pending.length >= MAX_PENDING;
  }
  get isCancelled(): boolean {
    return this.left;
  }

  push(piece: Piece): void {
    if (this.left) return;
    this.pending.push(piece);
    this.wakeReader();
  }

  end(error?: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
    this.wakeReader();
  }

  /** Ends the stream because the reader has left. Unread pieces are dropped, and the sequence frees its slot. */
  cancel(): void {
    if (this.left) return;
    this.left = true;
    this.pending = [];
    this.wakeReader();
    if (!this.ended) this.onChange("cancelled");
  }

  /** Yields all pieces since the last read, at least one. Throws the error that ended the sequence. */
  async *[Symbol.asyncIterator](): AsyncGenerator<readonly Piece[], void, undefined> {
    try {
      for (;;) {
        while (this.pending.length === 0 && !this.ended && !this.left)
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        if (this.pending.length === 0) {
          if (this.error !== undefined && !this.left) throw this.error;
          return;
        }
        const { isFull, pending } = this;
        this.pending = [];
        if (isFull) this.onChange("room");
        yield pending;
      }
    } finally {
      this.cancel();
    }
  }

  private wakeReader(): void {
    this.wake?.();
    this.wake = undefined;
  }
}
