import type { Batch, BatchMaker, Made } from "./batch.ts";
import { IGNORED } from "./batch.ts";
import type { RowsOptions } from "./concatenated.ts";
import { DocumentCursor, START, type StreamPosition } from "./cursor.ts";
import type { EncodedDocument } from "./documents/document-file.ts";
import { sharedEnd } from "./encode.ts";
import type { GroupReader } from "./groups.ts";
import { packBestFit } from "./packing.ts";
import { permutation, Stream } from "./random.ts";

/** A position among packed rows: the position at which a round starts, and the number of rows of this round that were returned. */
interface PackedPosition extends StreamPosition {
  row: number;
}

/** Minimum number of rows that are packed together: more rows are filled more evenly. */
const ROUND_ROWS = 256;

/** Part of a document: `length` input tokens from `from` on. Each target is the next token. */
interface Piece {
  tokens: Uint32Array;
  from: number;
  length: number;
  /** Size of the document's text in bytes if this is its first piece, else 0. */
  bytes: number;
  /** Target of the last token, if the document does not contain its end token. */
  end?: number;
}

interface Round {
  pieces: Piece[];
  /** Piece indices of each row. */
  rows: number[][];
  after: StreamPosition;
}

/**
 * Packs several whole documents into each row, best fit first (Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). Only
 * documents longer than a row are cut. At least 256 rows are packed together in a round. A round depends only on its start position.
 */
export class BestFitRows implements BatchMaker<PackedPosition> {
  readonly start: PackedPosition = { ...START, row: 0 };
  readonly #options: RowsOptions;
  readonly #seed: number;
  readonly #roundRows: number;
  readonly #end: number | undefined;
  #last: { key: string; round: Promise<Round> } | undefined;

  constructor(options: RowsOptions, seed: number) {
    this.#options = options;
    this.#seed = seed;
    this.#roundRows = Math.max(ROUND_ROWS, 4 * options.batchSize);
    this.#end = sharedEnd(options.tokenizer);
  }

  async make(reader: GroupReader, from: PackedPosition, check: () => void): Promise<Made<PackedPosition>> {
    const rows = new Rows(this.#options);
    let at = from;
    while (!rows.isFull) {
      const round = await this.#roundAt(reader, at, check);
      const taken = round.rows.slice(at.row, at.row + rows.room);
      for (const row of taken) rows.add(row.map((i) => round.pieces[i]!));
      const row = at.row + taken.length;
      at = row >= round.rows.length ? { ...round.after, row: 0 } : { ...at, row };
    }
    return { batch: rows.batch, after: at };
  }

  #roundAt(reader: GroupReader, at: PackedPosition, check: () => void): Promise<Round> {
    const { row: _, ...start } = at;
    const key = JSON.stringify(start);
    if (this.#last?.key !== key) {
      // A document needs an input and a target. With a shared end token, that token is the target.
      const least = this.#end === undefined ? 2 : 1;
      const cursor = new DocumentCursor(reader, this.#options.tokenizer, start, check, { least });
      const round = this.#pack(cursor, start);
      this.#last = { key, round };
      round.catch(() => {
        if (this.#last?.round === round) this.#last = undefined; // an error is reported, and the next call retries
      });
    }
    return this.#last!.round;
  }

  /** Reads the documents of a round and packs them. */
  async #pack(cursor: DocumentCursor, start: StreamPosition, seed = this.#seed): Promise<Round> {
    const { maxSeqLength } = this.#options;
    const pieces: Piece[] = [];
    let tokens = 0;
    while (tokens < this.#roundRows * maxSeqLength) {
      const document = await cursor.current();
      if (!document) break;
      for (const piece of cut(document, maxSeqLength, this.#end)) {
        pieces.push(piece);
        tokens += piece.length;
      }
      cursor.advance();
    }
    const bins = packBestFit(
      Uint32Array.from(pieces, ({ length }) => length),
      maxSeqLength,
    );
    // Bins are sorted by their longest piece. Batches take them in a random order.
    const order = await permutation(
      bins.length,
      seed,
      Stream.rows,
      start.epoch,
      (start.group * 65_537 + start.document) >>> 0, // identifies the round's start within the epoch
    );
    return { pieces, rows: Array.from(order, (bin) => bins[bin]!), after: cursor.position };
  }

  async *pass(reader: GroupReader, check: () => void): AsyncGenerator<Batch> {
    const cursor = new DocumentCursor(reader, this.#options.tokenizer, START, check, { epochs: 1 });
    let rows = new Rows(this.#options);
    for (;;) {
      // The order is the same for every seed, so that runs that evaluate only a part are comparable.
      const round = await this.#pack(cursor, cursor.position, 0);
      if (round.pieces.length === 0) break;
      for (const row of round.rows) {
        rows.add(row.map((i) => round.pieces[i]!));
        if (!rows.isFull) continue;
        yield rows.batch;
        rows = new Rows(this.#options);
      }
    }
    if (rows.batch.tokenCount > 0) yield rows.batch;
  }
}

/**
 * Cuts a document into pieces. All tokens except the last are inputs. The last one is an input too if the document does
 * not contain its end token. The target of a piece's last token is the first token of the next piece.
 */
function* cut(
  { tokens, bytes, closes }: EncodedDocument,
  longest: number,
  sharedEnd: number | undefined,
): Generator<Piece> {
  const end = closes ? sharedEnd : undefined;
  const inputs = tokens.length - (end === undefined ? 1 : 0);
  for (let from = 0; from < inputs; from += longest) {
    const length = Math.min(longest, inputs - from);
    const isLast = from + length === inputs;
    yield { tokens, from, length, bytes: from === 0 ? bytes : 0, ...(end !== undefined && isLast && { end }) };
  }
}

/** A batch that is filled row by row. The unused part of a row is padding. */
class Rows {
  readonly batch: Batch & Required<Pick<Batch, "positions" | "documents">>;
  readonly #length: number;
  readonly #count: number;
  #filled = 0;

  constructor({ batchSize, maxSeqLength }: RowsOptions) {
    const size = batchSize * maxSeqLength;
    this.#length = maxSeqLength;
    this.#count = batchSize;
    this.batch = {
      tokens: new Int32Array(size),
      targets: new Int32Array(size).fill(IGNORED),
      positions: new Int32Array(size),
      documents: new Int32Array(size).fill(-1),
      tokenCount: 0,
      byteCount: 0,
    };
  }

  get room(): number {
    return this.#count - this.#filled;
  }

  get isFull(): boolean {
    return this.room === 0;
  }

  add(pieces: readonly Piece[]): void {
    const { batch } = this;
    let at = this.#filled++ * this.#length;
    for (const [document, { tokens, from, length, bytes, end }] of pieces.entries()) {
      batch.tokens.set(tokens.subarray(from, from + length), at);
      batch.targets.set(tokens.subarray(from + 1, from + 1 + length), at);
      if (end !== undefined) batch.targets[at + length - 1] = end;
      for (let i = 0; i < length; i++) batch.positions[at + i] = i;
      batch.documents.fill(document, at, at + length);
      batch.tokenCount += length;
      batch.byteCount += bytes;
      at += length;
    }
  }
}
