import type { FloatDType, Value } from "../graph/index.ts";

/** What a stage's loss is traced with. */
export interface LossContext {
  /** Rows of a micro-batch: sequences · sequenceLength. */
  readonly rows: number;
  readonly sequenceLength: number;
  readonly dtype: FloatDType;
  /** Hidden states of the model over the inputs `ids` and `positions`, and the matrix that makes logits of them. */
  forward(): { hidden: Value; head: Value };
}

/** The data of a micro-batch: `ids` (rows) and what the stage's loss reads besides. */
export interface MicroBatch {
  inputs: Record<string, Int32Array | Float32Array>;
  /** Tokens read, for the count of tokens seen. */
  tokens: number;
  /** Positions that the loss counts. */
  counted: number;
}

/**
 * A training stage: how rows become a micro-batch, and the loss as a function of the graph. The trainer does the rest.
 */
export interface Stage<Batch> {
  readonly name: string;
  /**
   * The arrays of one micro-batch. `total` is the number of counted positions of the whole step, over all of its
   * micro-batches: a mean over them is what accumulation must keep.
   */
  collate(batch: Batch, total: number): MicroBatch;
  /** Counted positions of a batch, before it is collated. */
  count(batch: Batch): number;
  /** The scalar to minimise, (1) f32: the micro-batch's share of the step's mean. */
  loss(context: LossContext): Value;
}
