import { aborted, checkSeed, describe, HeddleError, invalidArgument } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { checkWhole } from "../core/option-values.ts";
import type { Batch, BatchMaker, Made } from "./batch.ts";
import { BestFitRows } from "./best-fit.ts";
import { ConcatenatedRows } from "./concatenated.ts";
import { contentSample } from "./content-sample.ts";
import type { StreamPosition } from "./cursor.ts";
import { type DocumentFile, openDocumentFiles } from "./documents/document-file.ts";
import type { SeparatorRule } from "./documents/shards.ts";
import { type CorpusTokenizer, sharedEnd } from "./encode.ts";
import { GroupReader } from "./groups.ts";

export type { Batch } from "./batch.ts";

/** Maximum number of tokens of a batch. */
export const MAX_BATCH_TOKENS = 2 ** 28;

/** How documents become rows; see `CorpusOptions.packing`. */
export type Packing = "concatenate" | "bestFit";

/** Options of `openCorpus`. */
export interface CorpusOptions {
  /**
   * One or several paths. The format follows from the extension. `.jsonl`: rows that are objects with a text field. `.parquet`: a text
   * column, read by row groups. `.tokens`: output of `writeTokenShards`, or a folder of it; memory-mapped, so it may be larger than
   * memory. All other files are text.
   */
  files: string | readonly string[];
  /** The tokenizer that encodes the texts. */
  tokenizer: CorpusTokenizer;
  /** T, the number of positions per row. */
  maxSeqLength: number;
  /** B, the number of rows per batch. */
  batchSize: number;
  /** Decides the order of the documents. Default 0. */
  seed?: number | undefined;
  /** Whether the documents are in a new random order in every epoch. False: the order of the files. Default true. */
  shuffle?: boolean | undefined;
  /**
   * The separator of documents in a text file: `"blank-line"` (the default), `"line"` (each line is a document),
   * `"file"` (the file is a document), or a marker: any other string that fills a line, such as `"<|endoftext|>"`. A
   * very long document is cut into parts, which are read, shuffled and held out separately. Parts have up to 5 MiB, or
   * with `"file"` a 64th of the file but at least 64 KiB. If there is a line break or a space near a cut, the parts
   * have the same ids as the whole text.
   */
  documentSeparator?: string | undefined;
  /** The field of a JSONL row, or the column of a Parquet file, that holds the text. Default `"text"`. */
  textField?: string | undefined;
  /**
   * `"concatenate"` (the default) joins documents and cuts them into rows. `"bestFit"` packs whole documents, which have separate
   * positions and do not see each other. It cuts only documents that are longer than a row.
   */
  packing?: Packing | undefined;
  /** Which side of a split by `evalFraction` this corpus reads. Default `"train"`. */
  split?: "train" | "eval" | undefined;
  /** The share of randomly chosen documents that only the `"eval"` side reads. Default 0. */
  evalFraction?: number | undefined;
  /** Seed of the choice of held-out documents. Default 0, so that they are the same for every `seed`. */
  splitSeed?: number | undefined;
  /** Amount of text in bytes that is held in memory and shuffled together. Default 64 MiB. A corpus within this limit is encoded only once. */
  shuffleBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A position in the data as a JSON value: where the next batch begins. */
export interface CorpusState {
  version: 1;
  epoch: number;
  group: number;
  document: number;
  token: number;
  /** For best-fit packing: number of completed rows of the current round. */
  row?: number;
  /** Identifies the data that the position refers to: seed, files, separators, split. */
  fingerprint: string;
  /** Hash of the files' contents, sampled for large files (see `contentSample`). Absent in older positions. */
  contents?: string;
}

/** A stream of batches from a corpus. */
export interface Corpus<State = CorpusState> {
  readonly batchSize: number;
  readonly maxSeqLength: number;
  /**
   * Returns the next batch. Epochs follow each other without end. Concatenated documents are joined with BOS and EOS between them, and
   * cut into rows.
   *
   * @throws HeddleError INVALID_FILE (`file:line`), NOT_FOUND, IO, ABORTED, DISPOSED
   */
  next(options?: { signal?: AbortSignal }): Promise<Batch>;
  /**
   * Skips the batch that `next` would return. With concatenated packing, this does not read documents of `.tokens` files, and only encodes
   * documents of other files.
   */
  skip(options?: { signal?: AbortSignal }): Promise<void>;
  /**
   * Iterates over all documents once, in the order of the files. The last batch is padded with targets of -100. The position of `next` does
   * not change.
   */
  pass(options?: { maxBatches?: number; signal?: AbortSignal }): AsyncGenerator<Batch>;
  /** Returns the position after the last batch that was returned by `next` or skipped. */
  state(): State;
  /** Moves to a position, from which `next` returns the same batches as before. */
  restore(state: State): void;
  /** Frees the text and closes the files. Later calls throw DISPOSED. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/**
 * Opens text for training: streamed from disk, encoded, shuffled and packed into rows of one length.
 *
 * @throws HeddleError NOT_FOUND for a missing file, INVALID_FILE, INVALID_ARGUMENT for an option out of range
 *
 * @example
 * const corpus = await openCorpus({ files: ["a.txt", "b.jsonl"], tokenizer, maxSeqLength: 256, batchSize: 16, seed: 1 });
 * const { tokens, targets } = await corpus.next();
 */
export async function openCorpus(options: CorpusOptions): Promise<Corpus> {
  checkOptions(options);
  const files = await openFilesOf(options);
  try {
    return new StreamedCorpus(files, options, await contentSample(files.map(({ path }) => path)));
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** Opens the files of a corpus. The caller closes them. */
export async function openFilesOf(
  options: Pick<CorpusOptions, "files" | "tokenizer" | "documentSeparator" | "textField">,
): Promise<DocumentFile[]> {
  const { files, tokenizer, textField = "text", documentSeparator } = options;
  const paths = typeof files === "string" ? [files] : files;
  if (!isStrings(paths)) throw invalidArgument("files", "a path, or an array of paths", files);
  if (paths.length === 0) throw invalidArgument("files", "at least one path", paths);
  return await openDocumentFiles(paths, { tokenizer, textField, rule: separatorRule(documentSeparator) });
}

type Position = StreamPosition & { row?: number };

class StreamedCorpus implements Corpus {
  readonly batchSize: number;
  readonly maxSeqLength: number;
  readonly #options: CorpusOptions;
  readonly #files: readonly DocumentFile[];
  readonly #fingerprint: string;
  readonly #contents: string;
  readonly #reader: GroupReader;
  readonly #maker: BatchMaker<Position>;
  #passReader: GroupReader | undefined;
  #position: Position;
  /** Whether `skip` has been called. The caller may skip the next batch too, so `next` then makes no batch ahead. */
  #skips = false;
  #ahead: { from: Position; made: Promise<Made<Position>> } | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #isDisposed = false;

  constructor(files: readonly DocumentFile[], options: CorpusOptions, contents: string) {
    this.batchSize = options.batchSize;
    this.maxSeqLength = options.maxSeqLength;
    this.#options = options;
    this.#files = files;
    this.#contents = contents;
    this.#reader = new GroupReader(files, options);
    const { packing = "concatenate", seed = 0 } = options;
    // The cast is safe: a maker only receives positions that it made, or whose keys `restore` checked.
    const makers = { concatenate: () => new ConcatenatedRows(options), bestFit: () => new BestFitRows(options, seed) };
    this.#maker = makers[packing]() as unknown as BatchMaker<Position>;
    this.#position = this.#maker.start;
    this.#fingerprint = this.#facts()
      .map(([, fact]) => fact)
      .join("; ");
  }

  /** Returns the facts that positions depend on, each with the name of the option that determines it. */
  #facts(): [option: string, fact: string][] {
    const {
      shuffle = true,
      seed = 0,
      evalFraction = 0,
      split = "train",
      splitSeed = 0,
      textField = "text",
    } = this.#options;
    const { documentSeparator = "blank-line", packing = "concatenate" } = this.#options;
    const sizes = this.#files.map(({ path, size }) => `${path.replace(/^.*[\\/]/, "")}:${size}`).join(",");
    const order = shuffle ? `seed ${seed} over ${this.#reader.groupBytes}` : "in order";
    // With best-fit packing, positions also depend on the shape of a batch and on the tokenizer's end tokens.
    const ends = sharedEnd(this.#options.tokenizer) === undefined ? "" : ", ends learned";
    const rows = `best fit in ${this.batchSize} x ${this.maxSeqLength}, seed ${seed}${ends}`;
    return [
      ["data", sizes],
      ["seed", order],
      ["evalFraction", `${split} of ${evalFraction} by ${splitSeed}`],
      ["documentSeparator", JSON.stringify(documentSeparator)],
      ["textField", textField],
      ["packing", packing === "bestFit" ? rows : ""],
    ].filter((fact): fact is [string, string] => fact[1] !== "");
  }

  next({ signal }: { signal?: AbortSignal } = {}): Promise<Batch> {
    // Make one batch at a time, because each batch begins where the previous batch ended.
    const batch = this.#queue.then(async () => {
      this.#check(signal);
      const ahead = this.#ahead?.from === this.#position ? this.#ahead.made : undefined;
      this.#ahead = undefined;
      const { batch, after } = await (ahead ?? this.#make(this.#position, signal));
      this.#check(signal);
      this.#position = after;
      // Make the next batch while the caller uses this one. An error is reported when that batch is requested.
      if (!this.#skips) {
        const made = this.#make(after);
        made.catch(() => undefined);
        this.#ahead = { from: after, made };
      }
      return batch;
    });
    this.#queue = batch.catch(() => undefined);
    return batch;
  }

  skip({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    this.#skips = true;
    const skipped = this.#queue.then(async () => {
      this.#check(signal);
      const check = () => this.#check(signal);
      const ahead = this.#ahead?.from === this.#position ? this.#ahead.made : undefined;
      this.#ahead = undefined;
      const { skip } = this.#maker;
      const after = skip
        ? await skip.call(this.#maker, this.#reader, this.#position, check)
        : (await (ahead ?? this.#make(this.#position, signal))).after;
      check();
      this.#position = after;
    });
    this.#queue = skipped.catch(() => undefined);
    return skipped;
  }

  #make(from: Position, signal?: AbortSignal): Promise<Made<Position>> {
    return this.#maker.make(this.#reader, from, () => this.#check(signal));
  }

  async *pass({ maxBatches = Number.POSITIVE_INFINITY, signal }: { maxBatches?: number; signal?: AbortSignal } = {}) {
    // Use a separate reader in file order, which does not affect the position of `next`.
    this.#passReader ??= new GroupReader(this.#files, { ...this.#options, shuffle: false });
    let count = 0;
    if (maxBatches < 1) return;
    for await (const batch of this.#maker.pass(this.#passReader, () => this.#check(signal))) {
      yield batch;
      if (++count >= maxBatches) return;
    }
  }

  state(): CorpusState {
    return { version: 1, ...this.#position, fingerprint: this.#fingerprint, contents: this.#contents };
  }

  restore(state: CorpusState): void {
    if (state?.version !== 1) throw invalidArgument("state.version", "1", state?.version);
    const given = state as unknown as Record<string, unknown>;
    const keys = Object.keys(this.#maker.start) as (keyof Position)[];
    for (const key of keys) checkWhole(`state.${key}`, given[key], 0);
    if (state.fingerprint !== this.#fingerprint) {
      const expected = String(state.fingerprint).split("; ");
      const facts = this.#facts();
      // The packing is the last fact, and is absent for concatenated rows. It differs if all other facts are equal.
      const differs = facts.findIndex(([, fact], i) => fact !== expected[i]);
      const [option, got] = facts[differs] ?? ["packing", "concatenate"];
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${option}: the position belongs to other data: expected ${expected[differs < 0 ? facts.length : differs] ?? "concatenate"}, got ${got}`,
      );
    }
    if (state.contents !== undefined && state.contents !== this.#contents) {
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `state.contents: the files have the same sizes as those of the position, but other contents: expected hash ${state.contents}, got ${this.#contents}`,
      );
    }
    this.#position = Object.fromEntries(keys.map((key) => [key, given[key]])) as unknown as Position;
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#ahead = undefined;
    this.#reader.dispose();
    this.#passReader?.dispose();
    for (const file of this.#files) file.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.#isDisposed) throw new HeddleError("DISPOSED", "corpus: used after dispose()");
    const fired = [signal, this.#options.signal].find((one) => one?.aborted);
    if (fired) throw aborted(fired, "corpus");
  }
}

/** Parses `documentSeparator`. @throws HeddleError INVALID_ARGUMENT for a text that cannot be a line */
export function separatorRule(separator = "blank-line"): SeparatorRule {
  if (separator === "blank-line") return { kind: "blank" };
  if (separator === "line") return { kind: "lines" };
  if (separator === "file") return { kind: "none" };
  if (separator === "" || /[\r\n]/.test(separator))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `documentSeparator: expected a text without line breaks, got ${describe(separator)}`,
    );
  return { kind: "marker", bytes: Buffer.from(separator) };
}

function checkOptions(options: CorpusOptions): void {
  const { evalFraction = 0, split = "train", documentSeparator = "blank-line" } = options;
  for (const name of ["seed", "splitSeed"] as const) if (options[name] !== undefined) checkSeed(options[name], name);
  const integers = { maxSeqLength: 1, batchSize: 1, shuffleBytes: 1 } as const;
  for (const [name, least] of Object.entries(integers) as [keyof typeof integers, number][]) {
    const value = options[name];
    if (value === undefined && name !== "maxSeqLength" && name !== "batchSize") continue;
    checkWhole(name, value, least);
  }
  if (options.maxSeqLength * options.batchSize > MAX_BATCH_TOKENS) {
    throw invalidArgument("batchSize", "at most 2^28 tokens a batch", options.maxSeqLength * options.batchSize);
  }
  if (!(evalFraction >= 0 && evalFraction < 1))
    throw invalidArgument("evalFraction", "a number in [0, 1)", evalFraction);
  if (split !== "train" && split !== "eval") throw invalidArgument("split", '"train" or "eval"', split);
  if (split === "eval" && evalFraction === 0) throw invalidArgument("evalFraction", "a number > 0 with split eval", 0);
  const { packing = "concatenate" } = options;
  if (packing !== "concatenate" && packing !== "bestFit")
    throw invalidArgument("packing", '"concatenate" or "bestFit"', packing);
  separatorRule(documentSeparator);
}
