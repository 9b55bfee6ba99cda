import type { GroupReader } from "./groups.ts";

export interface Batch {
  /** (B, T), row by row */
  tokens: Int32Array;
  /** (B, T): the token after each of `tokens`; -100 to learn none */
  targets: Int32Array;
  /** (B, T), for packed documents: the position of each token in its document. Absent: positions 0 to T − 1 in each row. */
  positions?: Int32Array;
  /** (B, T), for packed documents: index of each token's document in its row, −1 for padding. Documents do not see each other. */
  documents?: Int32Array;
  /** number of targets that are not -100 */
  tokenCount: number;
  /** size of the documents that begin in this batch, as UTF-8 text in bytes */
  byteCount: number;
}

/** A target that is not learned. */
export const IGNORED = -100;

export interface Made<Position> {
  batch: Batch;
  after: Position;
}

/** Makes rows from a stream of documents. */
export interface BatchMaker<Position> {
  readonly start: Position;
  /** Returns the batch at a position and the position after it, as a pure function of the position. @param check throws to stop */
  make(reader: GroupReader, from: Position, check: () => void): Promise<Made<Position>>;
  /** Iterates over all documents once. */
  pass(reader: GroupReader, check: () => void): AsyncGenerator<Batch>;
}
