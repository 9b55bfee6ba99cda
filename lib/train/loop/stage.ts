import type { FloatDType, TensorData, Value } from "../../graph/index.ts";
import type { Forward, Rows } from "../../models/forward.ts";
import type { Model } from "../../models/model.ts";

/** Options of a forward pass in a loss. */
export interface ForwardOptions {
  /** Ids and positions, (rows) i32 each, and lengths. Default: the inputs `ids`, `positions` and `lengths`. */
  rows?: Rows | undefined;
  /**
   * (rows) i32. Within a sequence, runs of equal numbers are documents without attention between them, and negative
   * numbers are padding. Positions are then the micro-batch's input `positions`.
   */
  documents?: Value | undefined;
  /** Names of the adapters to use, or false for none (the model before a LoRA stage). Default: the active ones. */
  adapters?: boolean | readonly string[] | undefined;
  /** Uniform noise on the embeddings, in training only: ± alpha / √(sequenceLength · width) (NEFTune). 0 turns it off. */
  neftuneNoiseAlpha?: number | undefined;
}

/** Context for tracing a stage's loss. */
export interface LossContext {
  /** The network in training. */
  readonly model: Model;
  /** Number of rows of a micro-batch: sequences · sequenceLength. */
  readonly rows: number;
  /** Number of sequences in a micro-batch. */
  readonly sequences: number;
  /** Number of rows of each sequence. */
  readonly sequenceLength: number;
  /** Element type of activations. */
  readonly dtype: FloatDType;
  /** Whether this trace is differentiated. Dropout and noise apply only then, not in an evaluation. */
  readonly training: boolean;
  /** Runs the model on the inputs `ids` and `positions`. A loss may call it more than once. */
  forward(options?: ForwardOptions): Forward;
}

/** The data of a micro-batch. */
export interface MicroBatch {
  /**
   * Inputs of the trace by name. `ids`, (rows) i32, holds the sequences in order, each padded to sequenceLength. `positions`, (rows) i32,
   * is needed only if positions do not count from 0 in each sequence. `lengths`, (rows) i32, holds the number of tokens of each row's
   * sequence. LongRoPE and dynamic NTK scaling choose the frequencies of a sequence by this number. Default: the lengths of
   * `documents`, or without them all rows of a sequence. Other inputs are those that the stage's loss reads.
   */
  inputs: Record<string, Int32Array | Float32Array>;
  /** Number of tokens read, for the total of tokens seen. */
  tokens: number;
  /** Number of positions that the loss counts. It must equal `Stage.count` of the same batch. */
  counted: number;
}

/** A loss, and further values of its trace for the stage's metrics. */
export interface LossOutputs {
  /** The loss, a scalar in f32. */
  loss: Value;
  [name: string]: Value;
}

/** Numbers that a stage reports in addition to its loss, such as rewardAccuracy. */
export type Metrics = Record<string, number>;

/** A training stage: builds micro-batches from rows, and the graph of the loss. The trainer handles everything else. */
export interface Stage<Batch> {
  /** Name of the stage, as in checkpoints and messages. */
  readonly name: string;
  /**
   * Builds the arrays of one micro-batch. `total` is the number of counted positions of the whole step, over all of its
   * micro-batches. The loss must be a mean over them, because micro-batches may count different numbers of positions.
   * `weight` is the step's sum of `Stage.weight`, or `total` without it.
   */
  collate(batch: Batch, total: number, weight: number): MicroBatch;
  /**
   * Returns the number of counted positions of a batch, before it is collated. A batch may have zero, but not every
   * batch of a step.
   */
  count(batch: Batch): number;
  /**
   * Returns a batch's weight in a mean that is not over counted positions, such as the sum of its class weights.
   * Default: `count`. A stage with this function makes evaluations read the held-out batches twice, first for the sum.
   */
  weight?: ((batch: Batch) => number) | undefined;
  /**
   * Returns the scalar to minimize, (1) f32: the micro-batch's share of the step's mean. It may also return further named values, which
   * `metrics` reads.
   */
  loss(context: LossContext): Value | LossOutputs;
  /**
   * Computes the metrics from the named outputs of each micro-batch. Without this function, each output (1) f32 is a metric of the same
   * name. Its value is the sum over the micro-batches, because each is a share of the step's mean, like the loss.
   */
  metrics?:
    | ((outputs: readonly Readonly<Record<string, TensorData>>[], batches: readonly Batch[]) => Metrics)
    | undefined;
  /** Returns divisors by metric name, for metrics that are not means over the counted positions: the number of items of each mean. */
  metricCounts?: ((batches: readonly Batch[]) => Metrics) | undefined;
  /**
   * Metrics derived from the means of other metrics, such as their difference. They are recomputed from each new mean.
   */
  derived?: ((metrics: Metrics) => Metrics) | undefined;
  /** Names of metrics that are shares of the step's mean, and are summed over ranks. The others are means. */
  readonly shares?: readonly string[] | undefined;
}

/** Sums over all batches of a step, or of an evaluation. They are the divisors of means. */
export interface Totals {
  count: number;
  /** The sum of `Stage.weight`. */
  weight: number;
}

/** Sums the counts and weights of the batches. Without `Stage.weight`, the weight is the count. */
export function totalsOf<Batch>(stage: Stage<Batch>, batches: readonly Batch[]): Totals {
  const sumOf = (value: (batch: Batch) => number) => batches.reduce((sum, batch) => sum + value(batch), 0);
  const count = sumOf((batch) => stage.count(batch));
  return { count, weight: stage.weight ? sumOf((batch) => stage.weight!(batch)) : count };
}

/** Computes the metrics of a step as described in `Stage.metrics`. */
export function metricsOf<Batch>(
  stage: Stage<Batch>,
  outputs: readonly Readonly<Record<string, TensorData>>[],
  batches: readonly Batch[],
): Metrics {
  if (stage.metrics) return stage.metrics(outputs, batches);
  const single = (micro: Readonly<Record<string, TensorData>>) =>
    Object.entries(micro).flatMap(([name, data]) => (data.length === 1 ? [[name, data[0]!] as const] : []));
  return summed(outputs.map(single));
}

/** Sums values by name. */
export function summed(list: readonly (readonly (readonly [name: string, value: number])[])[]): Metrics {
  const sums = new Map<string, number>();
  for (const [name, value] of list.flat()) sums.set(name, (sums.get(name) ?? 0) + value);
  return Object.fromEntries(sums);
}

/** Returns `{ metrics }`, or an empty object without metrics. */
export function someOf(metrics: Metrics): { metrics?: Metrics } {
  return Object.keys(metrics).length > 0 ? { metrics } : {};
}
