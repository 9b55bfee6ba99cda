import type { Batch, BatchMaker, Made } from "./batch.ts";
import { IGNORED } from "./batch.ts";
import { DocumentCursor, START, type StreamPosition } from "./cursor.ts";
import type { CorpusTokenizer } from "./encode.ts";
import type { GroupReader } from "./groups.ts";

/** The tokenizer, and the shape of a batch. */
export interface RowsOptions {
  tokenizer: CorpusTokenizer;
  batchSize: number;
  maxSeqLength: number;
}

/**
 * Joins documents and cuts them into rows of one length. Rows may begin and end inside a document. Every position has a target, except at
 * the end of a pass.
 */
export class ConcatenatedRows implements BatchMaker<StreamPosition> {
  readonly start = START;
  readonly #options: RowsOptions;

  constructor(options: RowsOptions) {
    this.#options = options;
  }

  async make(reader: GroupReader, from: StreamPosition, check: () => void): Promise<Made<StreamPosition>> {
    const filler = new Filler(new DocumentCursor(reader, this.#options.tokenizer, from, check));
    const tokenCount = this.#options.batchSize * this.#options.maxSeqLength;
    const stream = new Int32Array(tokenCount + 1);
    await filler.fill(stream);
    const after = filler.positionOfLast();
    const batch = {
      tokens: stream.slice(0, -1),
      targets: stream.slice(1),
      tokenCount,
      // The next batch begins at the last target. The bytes of a document that begins there count only in the next batch.
      byteCount: filler.takeByteCount() - (after.token === 0 ? filler.lastBytes : 0),
    };
    return { batch, after };
  }

  async skip(reader: GroupReader, from: StreamPosition, check: () => void): Promise<StreamPosition> {
    const cursor = new DocumentCursor(reader, this.#options.tokenizer, from, check);
    for (let left = this.#options.batchSize * this.#options.maxSeqLength + 1; ; ) {
      const length = (await cursor.currentLength())!; // never undefined, because there are endless epochs
      const { token } = cursor.position;
      const taken = Math.min(left, Math.max(0, length - token));
      left -= taken;
      // The last token is the first of the next batch.
      if (left === 0) return { ...cursor.position, token: token + taken - 1 };
      cursor.advance();
    }
  }

  async *pass(reader: GroupReader, check: () => void): AsyncGenerator<Batch> {
    const size = this.#options.batchSize * this.#options.maxSeqLength;
    const filler = new Filler(new DocumentCursor(reader, this.#options.tokenizer, START, check, { epochs: 1 }));
    const stream = new Int32Array(size + 1);
    let carried = 0;
    for (;;) {
      const filled = carried + (await filler.fill(stream.subarray(carried)));
      const targetCount = filled - 1;
      if (targetCount < 1) return;
      const batch = { tokens: new Int32Array(size), targets: new Int32Array(size).fill(IGNORED) };
      batch.tokens.set(stream.subarray(0, Math.min(filled, size)));
      batch.targets.set(stream.subarray(1, filled));
      yield { ...batch, tokenCount: targetCount, byteCount: filler.takeByteCount() };
      if (filled < stream.length) return;
      stream[0] = stream[size]!;
      carried = 1;
    }
  }
}

/** Copies from the endless stream of tokens, starting at a position. */
class Filler {
  /** Size of the last document that `fill` read, in bytes of text. */
  lastBytes = 0;
  #byteCount = 0;
  readonly #cursor: DocumentCursor;

  constructor(cursor: DocumentCursor) {
    this.#cursor = cursor;
  }

  /** Fills `stream`. Returns the number of copied tokens, which is less than the length of `stream` only after the last epoch. */
  async fill(stream: Int32Array): Promise<number> {
    const cursor = this.#cursor;
    let filled = 0;
    while (filled < stream.length) {
      const document = await cursor.current();
      if (!document) return filled;
      const { token } = cursor.position;
      this.lastBytes = document.bytes;
      if (token === 0) this.#byteCount += document.bytes;
      const part = document.tokens.subarray(token, token + stream.length - filled);
      stream.set(part, filled);
      filled += part.length;
      cursor.skip(part.length);
      // Advance only if another token is needed, because positionOfLast reads the cursor's position in the last
      // document.
      if (filled < stream.length) cursor.advance();
    }
    return filled;
  }

  /** Returns the position of the token that was copied last. */
  positionOfLast(): StreamPosition {
    const at = this.#cursor.position;
    return { ...at, token: at.token - 1 };
  }

  /** Returns the bytes of the documents that began since the last call, and resets the count. */
  takeByteCount(): number {
    const count = this.#byteCount;
    this.#byteCount = 0;
    return count;
  }
}
