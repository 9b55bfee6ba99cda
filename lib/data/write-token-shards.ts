import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { invalidArgument, throwIfAborted } from "../errors.ts";
import { type FileSink, ioError, writeFileAtomically } from "../formats/io.ts";
import { type CorpusOptions, openFilesOf } from "./corpus.ts";
import { DocumentCursor, START } from "./cursor.ts";
import { type EncodedDocument, tokenizerFingerprint } from "./document-file.ts";
import { GroupReader } from "./groups.ts";
import { TOKEN_FILE } from "./token-file.ts";

export interface WriteTokenShardsOptions
  extends Pick<CorpusOptions, "files" | "tokenizer" | "documentSeparator" | "textField" | "seed" | "shuffleBytes"> {
  /** Where `shard-00000.tokens` and those after it go. Files of the same names are replaced. */
  outputDir: string;
  /** Tokens of a shard, about: it ends with the document that reaches them. Default 2^27, 256 MiB of 16-bit tokens. */
  shardTokens?: number;
  /** Default false: the order of the files. True: an order by chance, as a corpus has in its first epoch. */
  shuffle?: boolean;
  signal?: AbortSignal;
  /** Told after each shard. */
  onShard?: (shard: TokenShard) => void;
}

export interface TokenShard {
  path: string;
  tokens: number;
  documents: number;
  /** Of text in UTF-8. */
  bytes: number;
}

/**
 * Encodes a corpus once and writes it as token files, which a corpus reads mapped: larger than memory, and without the tokenizer's
 * work in every run. Tokens have 16 bits where the vocabulary fits them. Each shard appears whole or not at all.
 *
 * @returns the shards
 * @throws HeddleError INVALID_FILE (`file:line`), NOT_FOUND, IO, ABORTED, INVALID_ARGUMENT for a tokenizer that does not tell its vocabSize
 *
 * @example
 * await writeTokenShards({ files: "wiki.parquet", tokenizer, outputDir: "tokens" });
 * await pretrain(base, { data: "tokens", maxSteps: 10_000 });
 */
export async function writeTokenShards(options: WriteTokenShardsOptions): Promise<TokenShard[]> {
  const { tokenizer, outputDir, shardTokens = 2 ** 27, shuffle = false, signal, onShard } = options;
  if (!Number.isSafeInteger(shardTokens) || shardTokens < 1)
    throw invalidArgument("shardTokens", "an integer ≥ 1", shardTokens);
  const { vocabSize } = tokenizer;
  if (vocabSize === undefined) throw invalidArgument("tokenizer.vocabSize", "a number", vocabSize);
  await mkdir(outputDir, { recursive: true }).catch((error: unknown) => {
    throw ioError(error, outputDir, "created");
  });
  const files = await openFilesOf(options);
  try {
    const reader = new GroupReader(files, { ...options, shuffle });
    const check = () => throwIfAborted(signal, "tokens");
    const cursor = new DocumentCursor(reader, tokenizer, START, check, { epochs: 1 });
    const shards: TokenShard[] = [];
    for (;;) {
      const first = await cursor.current();
      if (!first) return shards;
      const path = join(outputDir, `shard-${String(shards.length).padStart(5, "0")}.tokens`);
      const writer = new ShardWriter(vocabSize, tokenizerFingerprint(tokenizer));
      await writeFileAtomically(path, async (sink) => {
        await writer.begin(sink);
        let document: EncodedDocument | undefined = first;
        while (document) {
          await writer.add(sink, document);
          cursor.advance();
          document = writer.tokens < shardTokens ? await cursor.current() : undefined;
        }
        await writer.finish(sink);
      });
      const { tokens, documents, bytes } = writer;
      shards.push({ path, tokens, documents, bytes });
      onShard?.(shards.at(-1)!);
    }
  } finally {
    for (const file of files) file.close();
  }
}

/** Writes the parts of a token file in order; see token-file.ts for what they are. */
class ShardWriter {
  tokens = 0;
  bytes = 0;
  readonly #vocabSize: number;
  readonly #fingerprint: string;
  readonly #width: 2 | 4;
  readonly #ends: number[] = [];
  readonly #textBytes: number[] = [];

  constructor(vocabSize: number, fingerprint: string) {
    this.#vocabSize = vocabSize;
    this.#fingerprint = fingerprint;
    this.#width = vocabSize <= 2 ** 16 ? 2 : 4;
  }

  get documents(): number {
    return this.#ends.length;
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

  async add(sink: FileSink, { tokens, bytes }: EncodedDocument): Promise<void> {
    // A typed array is little-endian wherever Node runs.
    const stored = this.#width === 2 ? Uint16Array.from(tokens) : tokens;
    await sink.write(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
    this.tokens += tokens.length;
    this.bytes += bytes;
    this.#ends.push(this.tokens);
    this.#textBytes.push(bytes);
  }

  async finish(sink: FileSink): Promise<void> {
    await sink.align(8);
    const record = Buffer.alloc(TOKEN_FILE.recordBytes);
    for (const [i, end] of this.#ends.entries()) {
      record.writeBigUInt64LE(BigInt(end), 0);
      record.writeBigUInt64LE(BigInt(this.#textBytes[i]!), 8);
      await sink.write(record);
    }
    const footer = Buffer.alloc(TOKEN_FILE.footerBytes);
    for (const [i, value] of [this.tokens, this.documents, this.bytes].entries())
      footer.writeBigUInt64LE(BigInt(value), 8 * i);
    footer.write(TOKEN_FILE.endMagic, 24, "latin1");
    await sink.write(footer);
  }
}
