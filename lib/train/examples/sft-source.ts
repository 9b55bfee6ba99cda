import { createHash } from "node:crypto";
import { HeddleError, throwIfAborted } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { IGNORED } from "../../data/batch.ts";
import { packBestFit } from "../../data/packing.ts";
import { permutation, Stream } from "../../data/random.ts";
import type { BatchSource } from "../loop/trainer.ts";
import type { SftExample } from "./sft-rows.ts";

/** A micro-batch of sequences. Each array has (sequences · sequenceLength) elements. */
export interface SftBatch {
  tokens: Int32Array;
  /** The next token if the loss counts it, else −100. */
  targets: Int32Array;
  /** Position of each token in its document. */
  positions: Int32Array;
  /** Index of each token's document in its sequence; −1: padding. */
  documents: Int32Array;
  /** Number of targets that the loss counts. */
  counted: number;
  /** Number of tokens without padding. */
  tokenCount: number;
}

interface SftSourceOptions {
  batchSize: number;
  sequenceLength: number;
  /** Whether a sequence holds several examples, without attention between them. */
  packing: boolean;
  seed: number;
  heldOut?: readonly SftExample[] | undefined;
  evalBatches?: number | undefined;
}

interface Position {
  epoch: number;
  sequence: number;
  /** Fingerprint of the examples and of the shape of batches. */
  fingerprint: string;
}

/**
 * Batches of examples in memory. Each pass has a new order, a function of (seed, pass), so that a position is two integers. Sequences are
 * packed anew in each pass.
 */
export class SftSource implements BatchSource<SftBatch> {
  private readonly examples: readonly SftExample[];
  private readonly options: SftSourceOptions;
  private readonly fingerprint: string;
  private position = { epoch: 0, sequence: 0 };
  private order: { epoch: number; sequences: number[][] } | undefined;

  constructor(examples: readonly SftExample[], options: SftSourceOptions) {
    this.examples = examples;
    this.options = options;
    this.fingerprint = fingerprintOf(examples, options);
  }

  /** Number of sequences of the first pass, which defines an epoch. */
  async sequencesPerEpoch(): Promise<number> {
    return (await this.sequencesOf(0)).length;
  }

  async next(signal?: AbortSignal): Promise<SftBatch> {
    const taken: number[][] = [];
    while (taken.length < this.options.batchSize) {
      throwIfAborted(signal, "sft");
      const { epoch, sequence } = this.position;
      const sequences = await this.sequencesOf(epoch);
      const after = sequence + this.options.batchSize - taken.length;
      taken.push(...sequences.slice(sequence, after));
      this.position = after >= sequences.length ? { epoch: epoch + 1, sequence: 0 } : { epoch, sequence: after };
    }
    return this.batch(taken.map((sequence) => sequence.map((i) => this.examples[i]!)));
  }

  private async sequencesOf(epoch: number): Promise<number[][]> {
    if (this.order?.epoch === epoch) return this.order.sequences;
    const { seed, packing, sequenceLength } = this.options;
    const order = await permutation(this.examples.length, seed, Stream.documents, epoch);
    const sequences = packing
      ? await packed(this.examples, order, sequenceLength, (bins) =>
          permutation(bins, seed, Stream.documents, epoch, 1),
        )
      : Array.from(order, (i) => [i]);
    this.order = { epoch, sequences };
    return sequences;
  }

  /** Copies sequences into rows. Missing sequences at the end of an evaluation are padding. */
  private batch(sequences: readonly (readonly SftExample[])[]): SftBatch {
    const { batchSize, sequenceLength } = this.options;
    const rows = batchSize * sequenceLength;
    const batch: SftBatch = {
      tokens: new Int32Array(rows),
      targets: new Int32Array(rows).fill(IGNORED),
      positions: new Int32Array(rows),
      documents: new Int32Array(rows).fill(-1),
      counted: 0,
      tokenCount: 0,
    };
    for (const [s, examples] of sequences.entries()) {
      let at = s * sequenceLength;
      for (const [document, { ids, mask }] of examples.entries()) {
        for (let i = 0; i < ids.length; i++, at++) {
          batch.tokens[at] = ids[i]!;
          batch.positions[at] = i;
          batch.documents[at] = document;
          if (!mask[i + 1]) continue;
          batch.targets[at] = ids[i + 1]!;
          batch.counted++;
        }
        batch.tokenCount += ids.length;
      }
    }
    return batch;
  }

  state(): Position {
    return { ...this.position, fingerprint: this.fingerprint };
  }

  restore(state: unknown): void {
    const { epoch, sequence, fingerprint } = (state ?? {}) as Partial<Position>;
    if (!isWhole(epoch) || !isWhole(sequence))
      throw new HeddleError(
        "INVALID_FILE",
        `checkpoint: expected a position in the data, got ${JSON.stringify(state)}`,
      );
    if (typeof fingerprint !== "string" || dataOf(fingerprint) !== dataOf(this.fingerprint))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `checkpoint: expected the data and options of the resumed run (${fingerprint}), got others (${this.fingerprint})`,
      );
    this.position = { epoch, sequence };
  }

  get evaluation(): ((signal?: AbortSignal) => AsyncGenerator<SftBatch>) | undefined {
    const { heldOut = [], batchSize, sequenceLength, packing, evalBatches = Number.POSITIVE_INFINITY } = this.options;
    if (heldOut.length === 0) return undefined;
    const batch = (sequences: readonly (readonly number[])[]) =>
      this.batch(sequences.map((sequence) => sequence.map((i) => heldOut[i]!)));
    return async function* batches(signal) {
      const inOrder = heldOut.map((_, i) => i);
      // The order is the same for every seed, so that runs with evalBatches are comparable.
      const sequences = packing
        ? await packed(heldOut, inOrder, sequenceLength, (bins) => permutation(bins, 0, Stream.rows, 0))
        : inOrder.map((i) => [i]);
      for (let i = 0; i < sequences.length && i / batchSize < evalBatches; i += batchSize) {
        throwIfAborted(signal, "evaluation");
        yield batch(sequences.slice(i, i + batchSize));
      }
    };
  }

  dispose(): void {}
}

/**
 * Packs examples into sequences. Bins are sorted by their longest item, so the sequences are put into a random order.
 * @param order indices of the examples; examples of equal length are packed in this order
 * @param mix returns a permutation
 */
async function packed(
  examples: readonly SftExample[],
  order: ArrayLike<number>,
  sequenceLength: number,
  mix: (count: number) => Promise<Uint32Array>,
): Promise<number[][]> {
  const lengths = Uint32Array.from(order, (i) => examples[i]!.ids.length);
  const bins = packBestFit(lengths, sequenceLength);
  return Array.from(await mix(bins.length), (bin) => bins[bin]!.map((i) => order[i]!));
}

function fingerprintOf(examples: readonly SftExample[], options: SftSourceOptions): string {
  const hash = createHash("sha256");
  for (const { ids, mask } of examples) {
    hash.update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    hash.update(mask);
  }
  const { batchSize, sequenceLength, packing, seed } = options;
  const layout = `${batchSize} x ${sequenceLength}${packing ? " packed" : ""}, seed ${seed}`;
  return `${examples.length} rows ${hash.digest("hex").slice(0, 16)}, ${layout}`;
}

/**
 * Returns the part of a fingerprint that must be the same when a position is restored. It leaves out the number of
 * sequences in a batch. Without packing it also leaves out the sequence length, so a resumed run may have longer
 * held-out rows.
 */
function dataOf(fingerprint: string): string {
  return fingerprint.replace(/\d+ x (?:(\d+ packed)|\d+)/, "$1");
}
