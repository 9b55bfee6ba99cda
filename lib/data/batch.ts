import type { GroupReader } from "./groups.ts";

export interface Batch {
  /** (B, T), row by row */
  tokens: Int32Array;
  /** (B, T): the token after each of `tokens`; -100 where there is none to learn */
  targets: Int32Array;
  /** (B, T), of packed documents: the position of each token in its own document. Without it rows are positions 0 to T − 1. */
  positions?: Int32Array;
  /** (B, T), of packed documents: which of its row's documents a token is of, −1 for padding. Documents do not see each other. */
  documents?: Int32Array;
  /** how many targets are not -100 */
  tokenCount: number;
  /** bytes of UTF-8 text of the documents that begin in this batch */
  byteCount: number;
}

/** A target that is not learned. */
export const IGNORED = -100;

export interface Made<Position> {
  batch: Batch;
  after: Position;
}

/** How a stream of documents becomes rows. */
export interface BatchMaker<Position> {
  readonly start: Position;
  /** The batch at a position and the position after it: a function of the position alone. @param check throws to stop */
  make(reader: GroupReader, from: Position, check: () => void): Promise<Made<Position>>;
  /** All documents once. */
  pass(reader: GroupReader, check: () => void): AsyncGenerator<Batch>;
}
