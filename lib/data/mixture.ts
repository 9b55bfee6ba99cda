import { checkSeed, HeddleError, invalidArgument, seedAfter } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import type { Batch } from "./batch.ts";
import { type Corpus, type CorpusOptions, type CorpusState, openCorpus } from "./corpus.ts";
import { Stream, uniformAt } from "./random.ts";

/** One of several corpora, with its share of the rows. */
export interface MixturePart extends Pick<CorpusOptions, "files" | "documentSeparator" | "textField"> {
  /** Relative weight. The corpus provides the share weight / Σ weights of the rows. Default 1. */
  weight?: number;
}

/** Options of `openMixture`. */
export type MixtureOptions = Omit<CorpusOptions, "files" | "documentSeparator" | "textField"> & {
  parts: readonly MixturePart[];
};

/** A position in a mixture as JSON: the number of rows drawn, and the position of each corpus. */
interface MixtureState {
  version: 1;
  rows: number;
  parts: CorpusState[];
  /** The weights, and the seed of the draws. */
  fingerprint: string;
}

/**
 * Combines several corpora. Each row of a batch comes from a corpus drawn at random by weight. The draw is a function of the seed and the
 * row's number. Each corpus advances independently, through as many epochs as its weight requires. `pass` iterates over all corpora once.
 * It interleaves their rows by weight, so that its first batches represent the mixture.
 *
 * @throws HeddleError as openCorpus; INVALID_ARGUMENT for a weight that is not a number above 0
 *
 * @example
 * const mixed = await openMixture({
 *   parts: [{ files: "web.parquet", weight: 3 }, { files: "code.jsonl", textField: "content", weight: 1 }],
 *   tokenizer, maxSeqLength: 512, batchSize: 8, seed: 1,
 * });
 */
export async function openMixture({ parts, ...options }: MixtureOptions): Promise<Corpus<MixtureState>> {
  if (parts.length === 0) throw invalidArgument("parts", "at least one corpus", parts);
  const weights = parts.map(({ weight = 1 }, i) => {
    if (!(typeof weight === "number" && weight > 0 && Number.isFinite(weight)))
      throw invalidArgument(`parts[${i}].weight`, "a number above 0", weight);
    return weight;
  });
  checkWhole("batchSize", options.batchSize, 1);
  const { seed = 0 } = options;
  checkSeed(seed);
  const corpora: Corpus[] = [];
  try {
    for (const [i, { weight: _, ...part }] of parts.entries())
      corpora.push(await openCorpus({ ...options, ...part, batchSize: 1, seed: seedAfter(seed, i) }));
    return new MixedCorpus(corpora, weights, options.batchSize, seed);
  } catch (error) {
    for (const corpus of corpora) corpus.dispose();
    throw error;
  }
}

class MixedCorpus implements Corpus<MixtureState> {
  readonly batchSize: number;
  readonly maxSeqLength: number;
  readonly #corpora: readonly Corpus[];
  readonly #weights: readonly number[];
  /** Upper end of each corpus's share of [0, 1). */
  readonly #ends: readonly number[];
  readonly #seed: number;
  readonly #fingerprint: string;
  #rows = 0;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(corpora: readonly Corpus[], given: readonly number[], batchSize: number, seed: number) {
    const weights = scaled(given);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    this.#ends = weights.map((weight) => {
      sum += weight;
      return sum / total;
    });
    this.#corpora = corpora;
    this.#weights = weights;
    this.#seed = seed;
    this.batchSize = batchSize;
    this.maxSeqLength = corpora[0]!.maxSeqLength;
    this.#fingerprint = `${given.join(" : ")}, seed ${seed}`;
  }

  next(options: { signal?: AbortSignal } = {}): Promise<Batch> {
    return this.#inTurn(async () => {
      const rows: Batch[] = [];
      for (let i = 0; i < this.batchSize; i++) rows.push(await this.#drawn().next(options));
      return joined(rows, this.batchSize, this.maxSeqLength);
    });
  }

  skip(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#inTurn(async () => {
      for (let i = 0; i < this.batchSize; i++) await this.#drawn().skip(options);
    });
  }

  /** Runs `work` after all earlier work. An aborted or failed call consumes nothing. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(async () => {
      const before = this.state();
      try {
        return await work();
      } catch (error) {
        this.restore(before);
        throw error;
      }
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Returns the corpus of the next row. */
  #drawn(): Corpus {
    const row = this.#rows++;
    const draw = uniformAt(this.#seed, Stream.mixture, Math.floor(row / 2 ** 32), row % 2 ** 32);
    return this.#corpora[
      Math.max(
        0,
        this.#ends.findIndex((end) => draw < end),
      )
    ]!;
  }

  async *pass({ maxBatches = Number.POSITIVE_INFINITY, signal }: { maxBatches?: number; signal?: AbortSignal } = {}) {
    if (maxBatches < 1) return;
    let rows: Batch[] = [];
    let count = 0;
    for await (const row of this.#rowsInTurn(signal)) {
      rows.push(row);
      if (rows.length < this.batchSize) continue;
      yield joined(rows, this.batchSize, this.maxSeqLength);
      rows = [];
      if (++count >= maxBatches) return;
    }
    if (rows.length > 0) yield joined(rows, this.batchSize, this.maxSeqLength);
  }

  /** Iterates once over the rows of all corpora. The next row always comes from the corpus that is furthest behind its share. */
  async *#rowsInTurn(signal: AbortSignal | undefined): AsyncGenerator<Batch> {
    const open = this.#corpora.map((corpus, i) => ({
      rows: corpus.pass(signal ? { signal } : {}),
      weight: this.#weights[i]!,
      taken: 0,
    }));
    try {
      while (open.length > 0) {
        const next = open.reduce((a, b) => ((b.taken + 1) / b.weight < (a.taken + 1) / a.weight ? b : a));
        const { done, value } = await next.rows.next();
        if (done) open.splice(open.indexOf(next), 1);
        else {
          next.taken++;
          yield value;
        }
      }
    } finally {
      for (const { rows } of open) await rows.return(undefined);
    }
  }

  state(): MixtureState {
    return {
      version: 1,
      rows: this.#rows,
      parts: this.#corpora.map((corpus) => corpus.state()),
      fingerprint: this.#fingerprint,
    };
  }

  restore(state: MixtureState): void {
    if (state?.version !== 1) throw invalidArgument("state.version", "1", state?.version);
    checkWhole("state.rows", state.rows, 0);
    if (state.fingerprint !== this.#fingerprint || state.parts?.length !== this.#corpora.length)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${seedOf(state.fingerprint) === seedOf(this.#fingerprint) ? "data" : "seed"}: the position belongs to another mixture: expected weights ${state.fingerprint}, got ${this.#fingerprint}`,
      );
    for (const [i, corpus] of this.#corpora.entries()) corpus.restore(state.parts[i]!);
    this.#rows = state.rows;
  }

  dispose(): void {
    for (const corpus of this.#corpora) corpus.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Scales weights by a power of two, so that the largest is from 1 to below 2, and their sum is finite. A power of two does
 * not round weights, except weights that are negligible compared with the largest.
 */
function scaled(weights: readonly number[]): number[] {
  const exponent = Math.floor(Math.log2(weights.reduce((a, b) => Math.max(a, b))));
  // In two steps, because the inverse of a subnormal number is infinite.
  const half = Math.trunc(exponent / 2);
  return weights.map((weight) => weight * 2 ** -half * 2 ** (half - exponent));
}

/** Joins batches of one row into one batch. Rows that are missing at the end are padding. */
function joined(rows: readonly Batch[], count: number, length: number): Batch {
  const join = (pick: (row: Batch) => Int32Array, missing: number) => {
    const out = new Int32Array(count * length).fill(missing, rows.length * length);
    for (const [i, row] of rows.entries()) out.set(pick(row), i * length);
    return out;
  };
  const isPacked = rows[0]!.documents !== undefined;
  return {
    tokens: join((row) => row.tokens, 0),
    targets: join((row) => row.targets, -100),
    ...(isPacked && { positions: join((row) => row.positions!, 0), documents: join((row) => row.documents!, -1) }),
    tokenCount: rows.reduce((sum, row) => sum + row.tokenCount, 0),
    byteCount: rows.reduce((sum, row) => sum + row.byteCount, 0),
  };
}

/** Returns the seed in a fingerprint. */
const seedOf = (fingerprint: string) => String(fingerprint).replace(/^.*, seed /, "");
