import type { GroupReader } from "./groups.ts";

/** A batch of training data: B rows of T positions. */
export interface Batch {
  /** Token ids, (B, T) in row-major order. */
  tokens: Int32Array;
  /** Targets, (B, T): the token that follows each of `tokens`, or -100 for none. */
  targets: Int32Array;
  /** Position of each token in its document, (B, T), for packed documents. Default: positions 0 to T − 1 in each row. */
  positions?: Int32Array;
  /** Index of each token's document in its row, (B, T), for packed documents; −1 for padding. Documents do not see each other. */
  documents?: Int32Array;
  /** Number of targets that are not -100. */
  tokenCount: number;
  /** Total size of the documents that begin in this batch, in bytes of UTF-8 text. */
  byteCount: number;
}

/** The target value that the loss ignores. */
export const IGNORED = -100;

/** A batch, and the position after it. */
export interface Made<Position> {
  batch: Batch;
  after: Position;
}

/** Makes batches of rows from a stream of documents. */
export interface BatchMaker<Position> {
  readonly start: Position;
  /**
   * Returns the batch at a position, and the position after it. The result depends on the position only. @param check is called
   * regularly, and throws to stop
   */
  make(reader: GroupReader, from: Position, check: () => void): Promise<Made<Position>>;
  /** Returns the position after the batch at a position, and reads no more documents than necessary. Without it, `make` is used. */
  skip?(reader: GroupReader, from: Position, check: () => void): Promise<Position>;
  /** Iterates once over all documents. @param check is called regularly, and throws to stop */
  pass(reader: GroupReader, check: () => void): AsyncGenerator<Batch>;
}
