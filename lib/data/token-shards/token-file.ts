import { HeddleError } from "../../core/errors.ts";
import { type MappedFile, mapFile } from "../../io/mapped-file.ts";
import type { DocumentFile, DocumentFileOptions, DocumentPart, DocumentShard } from "../documents/document-file.ts";
import { tokenizerFingerprint } from "../tokenizer-fingerprint.ts";

/**
 * Token files: documents stored as tokens and memory-mapped, so that a corpus may be larger than memory. All numbers are little-endian.
 *
 * | bytes | what |
 * |---|---|
 * | 8 | magic `HDLTOKEN` |
 * | 4 | u32 version, 1 |
 * | 4 | u32 bytes of a token: 2 (u16) or 4 (u32) |
 * | 4 | u32 vocabulary size: every token is below it |
 * | 4 | 0 |
 * | 32 | fingerprint of the tokenizer (`tokenizerFingerprint`) |
 * | 8 | 0 |
 * | n · 2 or 4 | the tokens of all documents, end to end, BOS and EOS included |
 * | 0 to 7 | zeros, to a multiple of 8 |
 * | d · 16 | a record for each document, or for each part of a long document: u64 index of the token after its last one; u64 bytes of its
 * text. If the highest bit of the second number is set, the document continues in the next record. |
 * | 32 | footer: u64 tokens n, u64 records d, u64 bytes of text, magic `HDLTOEND` |
 *
 * A record has 2^27 tokens at most.
 */
export const TOKEN_FILE = {
  magic: "HDLTOKEN",
  endMagic: "HDLTOEND",
  version: 1,
  headerBytes: 64,
  recordBytes: 16,
  footerBytes: 32,
} as const;

/**
 * Maximum number of tokens of a record: a few hundred megabytes of text. The tokens of a record are read at once, so a forged number of
 * tokens must not exhaust the memory.
 */
export const MAX_DOCUMENT_TOKENS = 2 ** 27;

/** Flag in a record's size of text: the document continues in the next record. */
export const CONTINUES = 1n << 63n;

/** Number of records that are read at once to count documents. */
const COUNTED_RECORDS = 2 ** 16;

/** A memory-mapped token file. Memory holds only the parts that are read. */
export class TokenFile implements DocumentFile {
  readonly path: string;
  readonly size: number;
  readonly tokenCount: number;
  /** Number of records. A document of several records counts several times. */
  readonly documentCount: number;
  /** Total size of the documents' texts in bytes of UTF-8. */
  readonly textBytes: number;
  readonly vocabSize: number;
  /** Fingerprint of the tokenizer. */
  readonly fingerprint: string;
  readonly #map: MappedFile;
  readonly #tokenBytes: 2 | 4;
  readonly #indexStart: number;

  private constructor(path: string, map: MappedFile) {
    const { headerBytes, recordBytes, footerBytes, magic, endMagic, version } = TOKEN_FILE;
    const fail = (expected: string, got: unknown) =>
      new HeddleError("INVALID_FILE", `${path}: expected ${expected}, got ${got}`);
    this.path = path;
    this.size = map.size;
    this.#map = map;
    const truncated = () =>
      new HeddleError(
        "INVALID_FILE",
        `${path}: the file ends at byte ${map.size} without ${endMagic}: it is truncated`,
      );
    const header = Buffer.from(map.bytes(0, Math.min(map.size, headerBytes)));
    if (header.toString("latin1", 0, 8) !== magic)
      throw fail(`a token file that begins with ${magic}`, map.size === 0 ? "an empty file" : "another file");
    if (map.size < headerBytes + footerBytes) throw truncated();
    if (header.readUInt32LE(8) !== version) throw fail(`version ${version}`, header.readUInt32LE(8));
    const tokenBytes = header.readUInt32LE(12);
    if (tokenBytes !== 2 && tokenBytes !== 4) throw fail("tokens of 2 or 4 bytes", tokenBytes);
    this.#tokenBytes = tokenBytes;
    this.vocabSize = header.readUInt32LE(16);
    if (this.vocabSize < 1 || (tokenBytes === 2 && this.vocabSize > 2 ** 16))
      throw fail("a vocabulary that fits its tokens", this.vocabSize);
    this.fingerprint = header.toString("hex", 24, 56);
    const footer = Buffer.from(map.bytes(map.size - footerBytes, footerBytes));
    if (footer.toString("latin1", 24, 32) !== endMagic) throw truncated();
    const whole = (at: number, what: string) => {
      const value = Number(footer.readBigUInt64LE(at));
      if (!Number.isSafeInteger(value)) throw fail(`a number of ${what}`, value);
      return value;
    };
    this.tokenCount = whole(0, "tokens");
    this.documentCount = whole(8, "documents");
    this.textBytes = whole(16, "bytes");
    this.#indexStart = headerBytes + Math.ceil((this.tokenCount * tokenBytes) / 8) * 8;
    const wanted = this.#indexStart + this.documentCount * recordBytes + footerBytes;
    if (wanted !== map.size)
      throw fail(`${wanted} bytes for ${this.tokenCount} tokens in ${this.documentCount} documents`, map.size);
    const last = this.documentCount === 0 ? 0 : this.#ends(this.documentCount - 1, this.documentCount)[1]!;
    if (last !== this.tokenCount) throw fail(`the last document to end at token ${this.tokenCount}`, last);
  }

  /** Opens a token file. @throws HeddleError NOT_FOUND, IO, INVALID_FILE, INVALID_ARGUMENT for tokens of another tokenizer */
  static open(path: string, { tokenizer }: Partial<Pick<DocumentFileOptions, "tokenizer">> = {}): TokenFile {
    const map = mapFile(path);
    try {
      const file = new TokenFile(path, map);
      const expected = tokenizer && tokenizerFingerprint(tokenizer);
      if (expected !== undefined && expected !== file.fingerprint)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${path}: expected tokens of the model's tokenizer (${expected.slice(0, 12)}), got tokens of another tokenizer (${file.fingerprint.slice(0, 12)})`,
        );
      return file;
    } catch (error) {
      map.close();
      throw error;
    }
  }

  /** Counts documents. A document of several records counts once. */
  countWholeDocuments(): number {
    let count = 0;
    for (let from = 0; from < this.documentCount; from += COUNTED_RECORDS) {
      const records = Math.min(COUNTED_RECORDS, this.documentCount - from);
      const { recordBytes } = TOKEN_FILE;
      const view = new DataView(this.#map.bytes(this.#indexStart + from * recordBytes, records * recordBytes));
      for (let i = 0; i < records; i++) if (view.getBigUint64(i * recordBytes + 8, true) < CONTINUES) count++;
    }
    return count;
  }

  parts(shardBytes: number): DocumentPart[] {
    // Documents without tokens still take a record.
    const tokenBytes = (this.tokenCount * this.#tokenBytes) / Math.max(1, this.documentCount);
    const average = Math.max(TOKEN_FILE.recordBytes, tokenBytes);
    const step = Math.max(1, Math.round(shardBytes / average));
    const parts: DocumentPart[] = [];
    for (let from = 0; from < this.documentCount; from += step) {
      const to = Math.min(this.documentCount, from + step);
      parts.push({ bytes: Math.ceil((to - from) * average), open: async () => this.#shard(from, to) });
    }
    return parts;
  }

  #shard(from: number, to: number): DocumentShard {
    const ends = this.#ends(from, to);
    // Record i begins where record i - 1 ends, at ends[3 (i - 1) + 1]. The first one begins at ends[0].
    const startOf = (index: number) => ends[3 * index + (index === 0 ? 0 : -2)]!;
    return {
      count: to - from,
      isEncoded: true,
      position: (index) => from + index,
      tokenCount: (index) => ends[3 * index + 1]! - startOf(index),
      read: async (index) => ({
        tokens: this.#tokens(from + index, startOf(index), ends[3 * index + 1]!),
        bytes: ends[3 * index + 2]!,
        closes: ends[3 * index + 3] === 1,
      }),
    };
  }

  /**
   * Returns the start of the first record, followed by three numbers per record: its end, the size of its text in bytes, and whether the
   * document ends in it (1) or continues in the next record (0).
   */
  #ends(from: number, to: number): Float64Array {
    const { recordBytes } = TOKEN_FILE;
    const first = Math.max(0, from - 1);
    const records = new DataView(this.#map.bytes(this.#indexStart + first * recordBytes, (to - first) * recordBytes));
    const out = new Float64Array(1 + 3 * (to - from));
    let before = from === 0 ? 0 : Number(records.getBigUint64(0, true));
    out[0] = before;
    for (let document = from; document < to; document++) {
      const at = (document - first) * recordBytes;
      const end = Number(records.getBigUint64(at, true));
      const record = records.getBigUint64(at + 8, true);
      const continues = record >= CONTINUES;
      const bytes = Number(continues ? record - CONTINUES : record);
      if (!(end >= before && end <= this.tokenCount) || bytes > this.textBytes)
        throw new HeddleError(
          "INVALID_FILE",
          `${this.path}: document ${document + 1}: expected an end from token ${before} to ${this.tokenCount} and at most ${this.textBytes} bytes, got ${end} and ${bytes}`,
        );
      if (end - before > MAX_DOCUMENT_TOKENS)
        throw new HeddleError(
          "INVALID_FILE",
          `${this.path}: document ${document + 1}: expected at most ${MAX_DOCUMENT_TOKENS} tokens, got ${end - before}`,
        );
      out.set([end, bytes, continues ? 0 : 1], 1 + 3 * (document - from));
      before = end;
    }
    return out;
  }

  #tokens(document: number, start: number, end: number): Uint32Array {
    const width = this.#tokenBytes;
    const bytes = this.#map.bytes(TOKEN_FILE.headerBytes + start * width, (end - start) * width);
    const tokens = width === 2 ? Uint32Array.from(new Uint16Array(bytes)) : new Uint32Array(bytes);
    const wrong = tokens.findIndex((token) => token >= this.vocabSize);
    if (wrong >= 0)
      throw new HeddleError(
        "INVALID_FILE",
        `${this.path}: document ${document + 1}: token ${wrong + 1}: expected a number below ${this.vocabSize}, got ${tokens[wrong]}`,
      );
    return tokens;
  }

  close(): void {
    this.#map.close();
  }
}
