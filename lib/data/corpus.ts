import { stat } from "node:fs/promises";
import { describe, HeddleError, invalidArgument } from "../errors.ts";
import { type CorpusTokenizer, encodeDocument } from "./encode.ts";
import { GroupReader } from "./groups.ts";
import { Pacer } from "./pacer.ts";
import { type CorpusFile, fileError, type SeparatorRule } from "./shards.ts";

export interface CorpusOptions {
  /** Text files and `.jsonl` files (rows that are objects with a text field); one path, or several. */
  files: string | readonly string[];
  tokenizer: CorpusTokenizer;
  /** T, the number of positions of a row */
  maxSeqLength: number;
  /** B, the number of rows of a batch */
  batchSize: number;
  /** Decides the order of the documents. Default 0. */
  seed?: number;
  /** Default true: a new random order of the documents in every epoch. False: the order of the files. */
  shuffle?: boolean;
  /**
   * What separates the documents of a text file: `"blank-line"` (the default), `"line"` (each line is one), `"file"` (the file
   * is one), or a marker: any other string, where a line holds nothing else, such as `"<|endoftext|>"`.
   */
  documentSeparator?: string;
  /** The field of a JSONL row that holds the text. Default `"text"`. */
  textField?: string;
  /** Which side of a split by `evalFraction` this corpus reads. Default `"train"`. */
  split?: "train" | "eval";
  /** The share of documents that only the `"eval"` side reads, chosen by chance. Default 0. */
  evalFraction?: number;
  /** Decides which documents are held out. Default 0: the same ones, whatever the seed of the order. */
  splitSeed?: number;
  /** How much text is in memory, and so shuffled together, in bytes. Default 64 MiB; less text is also encoded only once. */
  shuffleBytes?: number;
  signal?: AbortSignal;
}

export interface Batch {
  /** (B, T), row by row */
  tokens: Int32Array;
  /** (B, T): the token after each of `tokens`; -100 where there is none to learn */
  targets: Int32Array;
  /** how many targets are not -100 */
  tokenCount: number;
  /** bytes of UTF-8 text of the documents that begin in this batch */
  byteCount: number;
}

/** A position in the data: of the next batch's first token. JSON keeps it. */
export interface CorpusState {
  version: 1;
  epoch: number;
  group: number;
  document: number;
  token: number;
  /** what the position is a position in: seed, files, separators, split */
  fingerprint: string;
}

export interface Corpus {
  readonly batchSize: number;
  readonly maxSeqLength: number;
  /**
   * The next batch. Documents follow each other, BOS and EOS between them, and are cut into rows; the epochs never end.
   *
   * @throws HeddleError INVALID_FILE (`file:line`), NOT_FOUND, IO, ABORTED, DISPOSED
   */
  next(options?: { signal?: AbortSignal }): Promise<Batch>;
  /**
   * All documents once, in the order of the files; the last row is filled up with targets of -100. The position of `next` stays
   * as it is.
   */
  pass(options?: { maxBatches?: number; signal?: AbortSignal }): AsyncGenerator<Batch>;
  /** The position after the last batch that `next` gave. */
  state(): CorpusState;
  /** Goes to a position: from there `next` gives the batches that it gave from there before. */
  restore(state: CorpusState): void;
  /** Frees the text. Later calls throw DISPOSED. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A target that is not learned. */
export const IGNORED = -100;

/**
 * Opens text for training: streamed from disk, encoded, shuffled and packed into rows of one length.
 *
 * @throws HeddleError NOT_FOUND for a missing file, INVALID_ARGUMENT for an option out of range
 *
 * @example
 * const corpus = await openCorpus({ files: ["a.txt", "b.jsonl"], tokenizer, maxSeqLength: 256, batchSize: 16, seed: 1 });
 * const { tokens, targets } = await corpus.next();
 */
export async function openCorpus(options: CorpusOptions): Promise<Corpus> {
  checkOptions(options);
  const rule = separatorRule(options.documentSeparator ?? "blank-line");
  const paths = typeof options.files === "string" ? [options.files] : options.files;
  if (paths.length === 0) throw invalidArgument("files", "at least one path", paths);
  const files = await Promise.all(paths.map((path) => describeFile(path, rule)));
  return new PackedCorpus(files, options);
}

type Position = Omit<CorpusState, "version" | "fingerprint">;
type Made = { batch: Batch; after: Position };
const START: Position = { epoch: 0, group: 0, document: 0, token: 0 };

class PackedCorpus implements Corpus {
  readonly batchSize: number;
  readonly maxSeqLength: number;
  readonly #options: CorpusOptions;
  readonly #files: readonly CorpusFile[];
  readonly #fingerprint: string;
  readonly #reader: GroupReader;
  #passReader: GroupReader | undefined;
  #position: Position = START;
  #ahead: { from: Position; made: Promise<Made> } | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #isDisposed = false;

  constructor(files: readonly CorpusFile[], options: CorpusOptions) {
    this.batchSize = options.batchSize;
    this.maxSeqLength = options.maxSeqLength;
    this.#options = options;
    this.#files = files;
    this.#reader = new GroupReader(files, options);
    const { shuffle = true, seed = 0, evalFraction = 0, split = "train", splitSeed = 0, textField = "text" } = options;
    const { documentSeparator = "blank-line" } = options;
    const sizes = files.map(({ path, size }) => `${path.replace(/^.*[\\/]/, "")}:${size}`).join(",");
    const order = shuffle ? `seed ${seed} over ${this.#reader.groupBytes}` : "in order";
    this.#fingerprint = [
      sizes,
      order,
      `${split} of ${evalFraction} by ${splitSeed}`,
      JSON.stringify(documentSeparator),
      textField,
    ].join("; ");
  }

  next({ signal }: { signal?: AbortSignal } = {}): Promise<Batch> {
    // One at a time: each batch begins where the one before ended.
    const batch = this.#queue.then(async () => {
      this.#check(signal);
      const ahead = this.#ahead?.from === this.#position ? this.#ahead.made : undefined;
      this.#ahead = undefined;
      const { batch, after } = await (ahead ?? this.#make(this.#position, signal));
      this.#check(signal);
      this.#position = after;
      // The next batch is made while the caller computes on this one. Its failure is told when it is asked for.
      const made = this.#make(after);
      made.catch(() => undefined);
      this.#ahead = { from: after, made };
      return batch;
    });
    this.#queue = batch.catch(() => undefined);
    return batch;
  }

  /** The batch at a position, and the position after it. */
  async #make(from: Position, signal?: AbortSignal): Promise<Made> {
    const filler = new Filler(this.#reader, this.#options.tokenizer, from, () => this.#check(signal));
    const tokenCount = this.batchSize * this.maxSeqLength;
    const stream = new Int32Array(tokenCount + 1);
    await filler.fill(stream);
    const batch = {
      tokens: stream.slice(0, -1),
      targets: stream.slice(1),
      tokenCount,
      byteCount: filler.takeByteCount(),
    };
    return { batch, after: filler.positionOfLast() };
  }

  async *pass({ maxBatches = Number.POSITIVE_INFINITY, signal }: { maxBatches?: number; signal?: AbortSignal } = {}) {
    const size = this.batchSize * this.maxSeqLength;
    // A reader of its own: in order, and without a trace on the position of `next`.
    this.#passReader ??= new GroupReader(this.#files, { ...this.#options, shuffle: false });
    const filler = new Filler(this.#passReader, this.#options.tokenizer, START, () => this.#check(signal), 1);
    const stream = new Int32Array(size + 1);
    let carried = 0;
    for (let count = 0; count < maxBatches; count++) {
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

  state(): CorpusState {
    return { version: 1, ...this.#position, fingerprint: this.#fingerprint };
  }

  restore(state: CorpusState): void {
    if (state?.version !== 1) throw invalidArgument("state.version", "1", state?.version);
    for (const key of ["epoch", "group", "document", "token"] as const) {
      if (!Number.isSafeInteger(state[key]) || state[key] < 0) {
        throw invalidArgument(`state.${key}`, "an integer ≥ 0", state[key]);
      }
    }
    if (state.fingerprint !== this.#fingerprint) {
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `state.fingerprint: the position belongs to other data, expected ${this.#fingerprint}, got ${state.fingerprint}`,
      );
    }
    const { epoch, group, document, token } = state;
    this.#position = { epoch, group, document, token };
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#ahead = undefined;
    this.#reader.dispose();
    this.#passReader?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.#isDisposed) throw new HeddleError("DISPOSED", "corpus: used after dispose()");
    const aborted = [signal, this.#options.signal].find((one) => one?.aborted);
    if (aborted) throw new HeddleError("ABORTED", "corpus: the signal fired", { cause: aborted.reason });
  }
}

/** Copies the endless stream of tokens, from a position on. */
class Filler {
  #byteCount = 0;
  readonly #reader: GroupReader;
  readonly #tokenizer: CorpusTokenizer;
  readonly #check: () => void;
  readonly #epochs: number;
  readonly #pacer = new Pacer();
  #at: Position;

  constructor(
    reader: GroupReader,
    tokenizer: CorpusTokenizer,
    from: Position,
    check: () => void,
    epochs = Number.POSITIVE_INFINITY,
  ) {
    this.#reader = reader;
    this.#tokenizer = tokenizer;
    this.#at = { ...from };
    this.#check = check;
    this.#epochs = epochs;
  }

  /** Fills `stream`; returns how much of it, which is less only after the last epoch. */
  async fill(stream: Int32Array): Promise<number> {
    const at = this.#at;
    let filled = 0;
    let filledAtEpochStart = at.group === 0 && at.document === 0 && at.token === 0 ? 0 : -1;
    while (filled < stream.length) {
      this.#check();
      if (at.epoch >= this.#epochs) return filled;
      if (at.group >= this.#reader.groupCount) {
        // A whole epoch gave nothing: so will every other.
        if (filledAtEpochStart === filled && this.#epochs === Number.POSITIVE_INFINITY) throw noDocuments();
        filledAtEpochStart = filled;
        Object.assign(at, { ...START, epoch: at.epoch + 1 });
        continue;
      }
      const group = await this.#reader.open(at.epoch, at.group);
      this.#check();
      if (at.document >= group.documentCount) {
        Object.assign(at, { ...START, epoch: at.epoch, group: at.group + 1 });
        continue;
      }
      const document = await group.read(at.document, (text, ends) =>
        encodeDocument(text, this.#tokenizer, ends, this.#pacer),
      );
      if (at.token === 0) this.#byteCount += document.bytes;
      const part = document.tokens.subarray(at.token, at.token + stream.length - filled);
      stream.set(part, filled);
      filled += part.length;
      at.token += part.length;
      // Only once another token is needed: the last one must stay at hand for positionOfLast.
      if (filled < stream.length) Object.assign(at, { document: at.document + 1, token: 0 });
      if (this.#pacer.isDue()) await this.#pacer.rest();
    }
    return filled;
  }

  /** Where the token that was copied last stands. */
  positionOfLast(): Position {
    return { ...this.#at, token: this.#at.token - 1 };
  }

  takeByteCount(): number {
    const count = this.#byteCount;
    this.#byteCount = 0;
    return count;
  }
}

function noDocuments(): HeddleError {
  return new HeddleError(
    "INVALID_FILE",
    "files: expected at least one document with text, got none on this side of the split",
  );
}

function separatorRule(separator: string): SeparatorRule {
  if (separator === "blank-line") return { kind: "blank" };
  if (separator === "line") return { kind: "lines" };
  if (separator === "file") return { kind: "none" };
  return { kind: "marker", bytes: Buffer.from(separator) };
}

async function describeFile(path: string, rule: SeparatorRule): Promise<CorpusFile> {
  const info = await stat(path).catch((error: unknown) => {
    throw fileError(path, error);
  });
  if (!info.isFile()) throw invalidArgument("files", "paths of files", path);
  const format = /\.(jsonl|ndjson)$/i.test(path) ? "jsonl" : "text";
  return { path, size: info.size, format, rule: format === "jsonl" ? { kind: "lines" } : rule };
}

function checkOptions(options: CorpusOptions): void {
  const { evalFraction = 0, split = "train", documentSeparator = "blank-line" } = options;
  const integers = { maxSeqLength: 1, batchSize: 1, shuffleBytes: 1, seed: 0, splitSeed: 0 } as const;
  for (const [name, least] of Object.entries(integers) as [keyof typeof integers, number][]) {
    const value = options[name];
    if (value === undefined && name !== "maxSeqLength" && name !== "batchSize") continue;
    if (!Number.isSafeInteger(value) || (value as number) < least) {
      throw invalidArgument(name, `an integer ≥ ${least}`, value);
    }
  }
  if (options.maxSeqLength * options.batchSize > 2 ** 28) {
    throw invalidArgument("batchSize", "at most 2^28 tokens a batch", options.maxSeqLength * options.batchSize);
  }
  if (!(evalFraction >= 0 && evalFraction < 1))
    throw invalidArgument("evalFraction", "a number in [0, 1)", evalFraction);
  if (split !== "train" && split !== "eval") throw invalidArgument("split", '"train" or "eval"', split);
  if (split === "eval" && evalFraction === 0) throw invalidArgument("evalFraction", "a number > 0 with split eval", 0);
  if (documentSeparator === "" || /[\r\n]/.test(documentSeparator)) {
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `documentSeparator: expected text of one line, got ${describe(documentSeparator)}`,
    );
  }
}
