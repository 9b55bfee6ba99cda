import { checkSeed, describe, HeddleError, invalidArgument, throwIfAborted } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { checkWhole } from "../../core/option-values.ts";
import { rejectUnknownNames } from "../../core/unknown-options.ts";
import { permutation, Stream, uniformAt } from "../../data/random.ts";
import type { BatchSource } from "../loop/trainer.ts";
import { exampleFingerprint } from "./example-fingerprint.ts";

/** Options of an `ExampleSource`. */
export interface ExampleSourceOptions<Example> {
  /** Examples that are never trained on, in their given order. */
  heldOut?: readonly Example[] | undefined;
  /** Number of examples in a batch. */
  batchSize: number;
  /** Seed of the order. */
  seed: number;
  /** Maximum number of held-out batches of an evaluation. */
  evalBatches?: number | undefined;
}

const NAMES: Record<keyof ExampleSourceOptions<unknown>, true> = {
  heldOut: true,
  batchSize: true,
  seed: true,
  evalBatches: true,
};

/** The position in a pass over the examples. */
export interface ExamplePosition {
  /** Number of finished passes. */
  epoch: number;
  /** Number of examples of the current pass that were read. */
  index: number;
  /** Identifies the examples and the seed. A run that resumed with other examples would skip some and repeat some. */
  fingerprint: string;
}

/**
 * Batches of examples in memory. Each pass has a new order, a function of (seed, pass), so that a position is two integers. The last batch
 * of a pass is filled up from the next pass.
 */
export class ExampleSource<Example> implements BatchSource<Example[]> {
  private readonly examples: readonly Example[];
  private readonly options: ExampleSourceOptions<Example>;
  private position = { epoch: 0, index: 0 };
  private readonly fingerprint: string;
  private order: { epoch: number; indices: Uint32Array } | undefined;

  /** @throws HeddleError INVALID_ARGUMENT without examples */
  constructor(examples: readonly Example[], options: ExampleSourceOptions<Example>) {
    if (!Array.isArray(examples)) throw invalidArgument("examples", "an array", examples);
    rejectUnknownNames(options, Object.keys(NAMES));
    const { batchSize, seed, heldOut, evalBatches } = options;
    for (const [name, count] of Object.entries({ batchSize, evalBatches }))
      if (name === "batchSize" || count !== undefined) checkWhole(name, count, 1);
    checkSeed(seed);
    if (heldOut !== undefined && !Array.isArray(heldOut)) throw invalidArgument("heldOut", "an array", heldOut);
    if (examples.length === 0)
      throw new HeddleError("INVALID_ARGUMENT", "data: expected at least one row to train on, got none");
    this.examples = examples;
    this.options = options;
    this.fingerprint = exampleFingerprint(examples, seed);
  }

  /**
   * Returns the next `batchSize` examples. The last batch of a pass is filled up from the next pass.
   * @throws HeddleError ABORTED
   */
  async next(signal?: AbortSignal): Promise<Example[]> {
    const batch: Example[] = [];
    while (batch.length < this.options.batchSize) {
      throwIfAborted(signal, "train");
      const { epoch, index } = this.position;
      const order = await this.orderOf(epoch);
      const taken = order.subarray(index, index + this.options.batchSize - batch.length);
      for (const i of taken) batch.push(this.examples[i]!);
      const after = index + taken.length;
      this.position = after === order.length ? { epoch: epoch + 1, index: 0 } : { epoch, index: after };
    }
    return batch;
  }

  private async orderOf(epoch: number): Promise<Uint32Array> {
    if (this.order?.epoch !== epoch) {
      const indices = await permutation(this.examples.length, this.options.seed, Stream.documents, epoch);
      this.order = { epoch, indices };
    }
    return this.order!.indices;
  }

  /** The position of the next batch, for checkpoints. */
  state(): ExamplePosition {
    return { ...this.position, fingerprint: this.fingerprint };
  }

  /**
   * Continues from a `state` of this source, or of a source with the same examples and seed.
   * @throws HeddleError INVALID_ARGUMENT for a position of other examples or another seed, INVALID_FILE for an invalid
   * position
   */
  restore(state: unknown): void {
    const { epoch, index, fingerprint } = (state ?? {}) as Partial<ExamplePosition>;
    if (typeof fingerprint === "string" && fingerprint !== this.fingerprint)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `resume: expected the data and seed of the resumed run (${fingerprint}), got others (${this.fingerprint})`,
      );
    const valid = isWhole(epoch) && isWhole(index);
    if (!valid || index! >= this.examples.length)
      throw new HeddleError(
        "INVALID_FILE",
        `checkpoint: expected a position in the ${this.examples.length} rows of data, got ${valid ? `${index}` : describe(state)}`,
      );
    this.position = { epoch: epoch!, index: index! };
  }

  /** Batches of the held-out examples, in order. The last batch may be shorter. Undefined without held-out examples. */
  get evaluation(): ((signal?: AbortSignal) => AsyncGenerator<Example[]>) | undefined {
    const { heldOut = [], batchSize, evalBatches = Number.POSITIVE_INFINITY } = this.options;
    if (heldOut.length === 0) return undefined;
    return async function* batches(signal) {
      for (let i = 0; i < heldOut.length && i / batchSize < evalBatches; i += batchSize) {
        throwIfAborted(signal, "evaluation");
        yield heldOut.slice(i, i + batchSize);
      }
    };
  }

  /** Does nothing: the examples belong to the caller. */
  dispose(): void {}
}

/** The rows of a source that were kept. Other rows were skipped, for instance because they are too long. */
export interface KeptRows<T> {
  rows: readonly T[];
  /** Index in the source of each kept row. */
  indices: readonly number[];
  /** Number of rows of the source. */
  count: number;
}

/** Returns all rows of a source as kept rows. */
export function allKept<T>(rows: readonly T[]): KeptRows<T> {
  return { rows, indices: rows.map((_, i) => i), count: rows.length };
}

/**
 * Splits rows into training and evaluation. Each row of a source is held out with probability `fraction`, by a draw
 * that depends on its index alone. So the same rows are held out for every seed, in every stage, and whatever other
 * rows are skipped. Runs are then comparable, and a run with other options does not train on rows that another run held
 * out. A fraction above 0 holds out at least one row of the source.
 * @throws HeddleError INVALID_ARGUMENT if no row is left to train on, or if all rows to hold out were skipped
 */
export function splitExamples<T>(
  { rows, indices, count }: KeptRows<T>,
  fraction: number,
): { train: T[]; heldOut: T[] } {
  const drawOf = (index: number) => uniformAt(0, Stream.split, 1, index);
  let least = 1;
  for (let index = 0; index < count; index++) least = Math.min(least, drawOf(index));
  const isHeldOut = indices.map((index) => {
    const draw = drawOf(index);
    // Also hold out the row with the smallest draw, so that at least one row is held out.
    return fraction > 0 && (draw < fraction || draw === least);
  });
  const heldOut = rows.filter((_, i) => isHeldOut[i]);
  const train = rows.filter((_, i) => !isHeldOut[i]);
  if (train.length === 0)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `evalFraction: no row is left to train on, because all of them (${rows.length}) are held out`,
    );
  if (fraction > 0 && heldOut.length === 0)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `evalFraction: expected a share that holds out at least one row that is not skipped, got ${fraction} of ${count} rows`,
    );
  return { train, heldOut };
}
