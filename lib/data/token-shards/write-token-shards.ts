import { checkSeed, HeddleError, invalidArgument, throwIfAborted } from "../../core/errors.ts";
import { checkWhole } from "../../core/option-values.ts";
import { nextTurn, pause } from "../../core/slices.ts";
import { checkNames } from "../../core/unknown-options.ts";
import { type FileSink, makeFolder, writeFileAtomically } from "../../io/atomic-files.ts";
import { claim } from "../../io/claim.ts";
import { type CorpusOptions, openFilesOf } from "../corpus.ts";
import type { DocumentFile, EncodedDocument } from "../documents/document-file.ts";
import { GroupReader } from "../groups.ts";
import { ParallelEncoder } from "../parallel-encoder.ts";
import { tokenizerFingerprint } from "../tokenizer-fingerprint.ts";
import { type RecordedShard, ShardsRecord, shardPath } from "./shards-record.ts";
import { CONTINUES, MAX_DOCUMENT_TOKENS, TOKEN_FILE } from "./token-file.ts";

/** Options of `writeTokenShards`. */
export interface WriteTokenShardsOptions
  extends Pick<CorpusOptions, "files" | "tokenizer" | "documentSeparator" | "textField" | "seed" | "shuffleBytes"> {
  /**
   * Folder for `shard-00000.tokens` and the following shards, and `shards.json`. Shards of another run in the folder
   * are replaced or removed. It is an error if another run is writing to the folder.
   */
  outputDir: string;
  /**
   * Approximate number of tokens per shard. A shard ends with the document that reaches this number. Default 2^27,
   * which is 256 MiB of 16-bit tokens.
   */
  shardTokens?: number | undefined;
  /** Whether to write the documents in a random order, as in a corpus's first epoch. Default false: the order of the files. */
  shuffle?: boolean | undefined;
  /**
   * Whether to continue after the finished shards of earlier runs with the same files, options and tokenizer. The shards are then the
   * same as those of an uninterrupted run. Every run writes `shards.json`, with its inputs and the number of finished shards. A folder of
   * other shards is rejected. Default false: start from the beginning.
   */
  resume?: boolean | undefined;
  /** Aborts the call, which then rejects with ABORTED. Finished shards stay, and `resume` continues after them. */
  signal?: AbortSignal | undefined;
  /** Called after each shard is written. */
  onShard?: ((shard: TokenShard) => void) | undefined;
  /** Called regularly, and at the end. */
  onProgress?: ((progress: TokenShardProgress) => void) | undefined;
}

/** Progress of `writeTokenShards`. */
export interface TokenShardProgress {
  /** Number of documents so far, with those of finished shards. */
  documents: number;
  /** Number of tokens so far, with those of finished shards. */
  tokens: number;
  /** Size of the encoded text in bytes of UTF-8. */
  bytes: number;
  /** Total size of the files. It is close to the final `bytes`, or smaller if they are compressed. */
  totalBytes: number;
}

/** A finished token file. */
export interface TokenShard {
  /** Path of the file. */
  path: string;
  /** Number of tokens in the file. */
  tokens: number;
  /** Number of documents that end in the shard. */
  documents: number;
  /** Size of the text in bytes of UTF-8. */
  bytes: number;
}

/**
 * Encodes a corpus once, on several threads if the tokenizer supports them, and writes it as token files. These are
 * memory-mapped, so a corpus may be larger than memory, and training runs need no tokenization. Backpressure limits how
 * far reading runs ahead of writing. Tokens have 16 bits if the vocabulary fits. Each shard is written atomically.
 *
 * @returns the shards, including those that existed before a resumed run
 * @throws HeddleError INVALID_FILE (`file:line`), NOT_FOUND, IO, ABORTED; INVALID_ARGUMENT for a tokenizer without vocabSize, and for a
 *   folder that another run writes or that cannot be resumed from
 *
 * @example
 * await writeTokenShards({ files: "wiki.parquet", tokenizer, outputDir: "tokens" });
 * await pretrain(base, { data: "tokens", maxSteps: 10_000 });
 */
export async function writeTokenShards(options: WriteTokenShardsOptions): Promise<TokenShard[]> {
  checkOptions(options);
  return await writeDocuments(await openFilesOf(options), options);
}

const OPTIONS: Record<keyof WriteTokenShardsOptions, true> = {
  files: true,
  tokenizer: true,
  documentSeparator: true,
  textField: true,
  seed: true,
  shuffleBytes: true,
  outputDir: true,
  shardTokens: true,
  shuffle: true,
  resume: true,
  signal: true,
  onShard: true,
  onProgress: true,
};

/** Checks the options. @throws HeddleError INVALID_ARGUMENT for an unknown option, and for a missing required one */
function checkOptions(options: WriteTokenShardsOptions): void {
  checkNames(options, OPTIONS);
  const { tokenizer, outputDir } = options;
  if (typeof tokenizer !== "object" || tokenizer === null) throw invalidArgument("tokenizer", "a Tokenizer", tokenizer);
  if (options.seed !== undefined) checkSeed(options.seed);
  if (typeof outputDir !== "string" || outputDir === "") throw invalidArgument("outputDir", "a folder", outputDir);
}

/** Minimum number of milliseconds between two reports of progress. */
const PROGRESS_MS = 3;

/** Like writeTokenShards, for open files instead of `options.files`. Closes the files. */
export async function writeDocuments(
  files: readonly DocumentFile[],
  options: WriteTokenShardsOptions,
): Promise<TokenShard[]> {
  const { tokenizer, outputDir, shardTokens = 2 ** 27, shuffle = false, signal, onShard, onProgress } = options;
  let release = () => {};
  try {
    checkWhole("shardTokens", shardTokens, 1);
    const { vocabSize } = tokenizer;
    if (vocabSize === undefined) throw invalidArgument("tokenizer.vocabSize", "a number", vocabSize);
    await makeFolder(outputDir);
    release = await claim(outputDir, "outputDir");
    const fingerprint = tokenizerFingerprint(tokenizer);
    const reader = new GroupReader(files, { ...options, shuffle });
    const { seed = 0, documentSeparator = "blank-line", textField = "text" } = options;
    const order = { shuffle, ...(shuffle && { seed }), shuffleBytes: reader.groupBytes };
    const record = await ShardsRecord.of(outputDir, {
      files: files.map(({ path }) => path),
      tokenizer: fingerprint,
      options: { shardTokens, documentSeparator, textField, ...order },
    });
    if (!options.resume) await record.begin();
    const shards: RecordedShard[] = options.resume ? await record.resume() : [];
    const progress = { documents: 0, tokens: 0, bytes: 0, totalBytes: files.reduce((sum, { size }) => sum + size, 0) };
    for (const shard of shards) {
      progress.documents += shard.documents;
      progress.tokens += shard.tokens;
      progress.bytes += shard.bytes;
    }
    const written = shards.reduce((sum, { records }) => sum + records, 0);
    const documents = encodeInOrder(reader, new ParallelEncoder(tokenizer, signal), written, signal);
    let reported = performance.now();
    const next = async () => {
      const { value: document } = await documents.next();
      if (document) {
        if (document.closes) progress.documents++;
        progress.tokens += document.tokens.length;
        progress.bytes += document.bytes;
      }
      if (onProgress && (!document || performance.now() - reported > PROGRESS_MS)) {
        onProgress({ ...progress });
        await nextTurn();
        reported = performance.now();
      }
      return document;
    };
    let document = await next();
    while (document) {
      const path = shardPath(outputDir, shards.length);
      const writer = new ShardWriter(vocabSize, fingerprint);
      await writeFileAtomically(path, async (sink) => {
        await writer.begin(sink);
        while (document && (writer.tokens < shardTokens || writer.records === 0)) {
          await writer.add(sink, document);
          document = await next();
        }
        await writer.finish(sink);
      });
      const { tokens, documents: count, bytes, records } = writer;
      shards.push({ path, tokens, documents: count, bytes, records });
      await record.finished(shards.length);
      onShard?.({ path, tokens, documents: count, bytes });
    }
    await record.clean(shards.length);
    return shards.map(({ records: _, ...shard }) => shard);
  } finally {
    release();
    for (const file of files) file.close();
  }
}

/** Maximum number of documents waiting to be written. */
const MAX_DOCUMENTS = 4096;
/** Number of documents to request between two checks of the encoder's room. */
const ASKED_AT_ONCE = 64;

/** Encodes the documents of all groups in order, except the first `done` ones. It encodes ahead while `encoder.hasRoom`. */
async function* encodeInOrder(
  reader: GroupReader,
  encoder: ParallelEncoder,
  done: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<EncodedDocument, undefined, undefined> {
  for (let g = 0; g < reader.groupCount; g++) {
    const group = await reader.open(0, g);
    const waiting: Promise<EncodedDocument>[] = [];
    const first = Math.min(done, group.documentCount);
    done -= first;
    for (let place = first; place < group.documentCount || waiting.length > 0; ) {
      throwIfAborted(signal, "tokens");
      while (place < group.documentCount && waiting.length < MAX_DOCUMENTS && encoder.hasRoom) {
        const end = Math.min(group.documentCount, place + ASKED_AT_ONCE);
        for (; place < end; place++) {
          const document = group.read(place, (text, ends) => encoder.encode(text, ends));
          document.catch(() => {}); // awaited below, unless an earlier document fails
          waiting.push(document);
        }
        await undefined; // lets `group.read` pass the texts to the encoder, so that `hasRoom` includes them
        await pause();
      }
      yield await waiting.shift()!;
    }
  }
  return undefined;
}

/** Writes the parts of a token file in order; see token-file.ts for the format. */
class ShardWriter {
  tokens = 0;
  bytes = 0;
  readonly #vocabSize: number;
  readonly #fingerprint: string;
  readonly #width: 2 | 4;
  readonly #ends: number[] = [];
  readonly #textBytes: number[] = [];
  /** Indices of records whose document continues in the next record. */
  readonly #continued = new Set<number>();

  constructor(vocabSize: number, fingerprint: string) {
    this.#vocabSize = vocabSize;
    this.#fingerprint = fingerprint;
    this.#width = vocabSize <= 2 ** 16 ? 2 : 4;
  }

  get records(): number {
    return this.#ends.length;
  }

  get documents(): number {
    return this.records - this.#continued.size;
  }

  async begin(sink: FileSink): Promise<void> {
    const header = Buffer.alloc(TOKEN_FILE.headerBytes);
    header.write(TOKEN_FILE.magic, 0, "latin1");
    header.writeUInt32LE(TOKEN_FILE.version, 8);
    header.writeUInt32LE(this.#width, 12);
    header.writeUInt32LE(this.#vocabSize, 16);
    header.write(this.#fingerprint, 24, "hex");
    await sink.write(header);
  }

  async add(sink: FileSink, { tokens, bytes, closes }: EncodedDocument): Promise<void> {
    if (tokens.length > MAX_DOCUMENT_TOKENS)
      throw new HeddleError(
        "INVALID_FILE",
        `files: document ${this.#ends.length + 1} of a shard: expected at most ${MAX_DOCUMENT_TOKENS} tokens, got ${tokens.length}`,
      );
    // Typed arrays are little-endian on all platforms of Node.
    const stored = this.#width === 2 ? Uint16Array.from(tokens) : tokens;
    await sink.write(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
    this.tokens += tokens.length;
    this.bytes += bytes;
    if (!closes) this.#continued.add(this.#ends.length);
    this.#ends.push(this.tokens);
    this.#textBytes.push(bytes);
  }

  async finish(sink: FileSink): Promise<void> {
    await sink.align(8);
    const record = Buffer.alloc(TOKEN_FILE.recordBytes);
    for (const [i, end] of this.#ends.entries()) {
      record.writeBigUInt64LE(BigInt(end), 0);
      record.writeBigUInt64LE(BigInt(this.#textBytes[i]!) + (this.#continued.has(i) ? CONTINUES : 0n), 8);
      await sink.write(record);
    }
    const footer = Buffer.alloc(TOKEN_FILE.footerBytes);
    for (const [i, value] of [this.tokens, this.records, this.bytes].entries())
      footer.writeBigUInt64LE(BigInt(value), 8 * i);
    footer.write(TOKEN_FILE.endMagic, 24, "latin1");
    await sink.write(footer);
  }
}
