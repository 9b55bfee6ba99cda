import type { Piece } from "./sequence.ts";

/** Pieces that may wait for their reader before their sequence pauses. */
const MOST_PENDING = 64;

/**
 * The pieces of one sequence, from the loop that draws them to whoever reads them. A reader that falls behind pauses its sequence, and
 * one that leaves (`cancel`, or the end of its `for await`) ends it.
 */
export class PieceStream implements AsyncIterable<readonly Piece[]> {
  private pending: Piece[] = [];
  private ended = false;
  private error: unknown;
  private wake: (() => void) | undefined;
  private readonly onChange: (what: "cancelled" | "room") => void;
  private left = false;

  /** @param onChange is told when the reader has left, and when there is room again */
  constructor(onChange: (what: "cancelled" | "room") => void) {
    this.onChange = onChange;
  }

  /** Whether its sequence is to wait for the reader. */
  get isFull(): boolean {
    return this.pending.length >= MOST_PENDING;
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

  /** The reader wants no more: what it had not read is gone, and so is the place of its sequence. */
  cancel(): void {
    if (this.left) return;
    this.left = true;
    this.pending = [];
    this.wakeReader();
    if (!this.ended) this.onChange("cancelled");
  }

  /** All pieces that have come since the last reading, at least one; throws what the sequence ended with. */
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
