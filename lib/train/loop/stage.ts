import type { FloatDType, TensorData, Value } from "../../graph/index.ts";
import type { Forward, Rows } from "../../models/forward.ts";
import type { Model } from "../../models/model.ts";

/** What a forward pass of a loss may differ in. */
export interface ForwardOptions {
  /** Ids and positions, (rows) i32 each, where they are not the inputs `ids` and `positions`. */
  rows?: Rows | undefined;
  /**
   * (rows) i32: runs of equal numbers within a sequence are documents that do not see each other, negative ones are
   * padding. Positions are then the input `positions` of the micro-batch.
   */
  documents?: Value | undefined;
  /** false: without any adapter (the model before a LoRA stage); names: those. Default: the active ones. */
  adapters?: boolean | readonly string[] | undefined;
  /** Uniform noise on the embeddings, in training alone: ± alpha / √(sequenceLength · width) (NEFTune). 0: none. */
  neftuneNoiseAlpha?: number | undefined;
}

/** What a stage's loss is traced with. */
export interface LossContext {
  readonly model: Model;
  /** Rows of a micro-batch: sequences · sequenceLength. */
  readonly rows: number;
  /** Sequences of a micro-batch. */
  readonly sequences: number;
  /** Rows of each. */
  readonly sequenceLength: number;
  /** Of activations. */
  readonly dtype: FloatDType;
  /** Whether this trace is differentiated: dropout and noise apply then, and not in an evaluation. */
  readonly training: boolean;
  /** The model over the inputs `ids` and `positions`. It may be called more than once in a loss. */
  forward(options?: ForwardOptions): Forward;
}

/** The data of a micro-batch. */
export interface MicroBatch {
  /**
   * What the trace has as inputs, by name: `ids`, (rows) i32, sequence after sequence, each filled up to sequenceLength; and what the stage's
   * loss reads besides. `positions`, (rows) i32, only where they do not count from 0 in each sequence.
   */
  inputs: Record<string, Int32Array | Float32Array>;
  /** Tokens read, for the count of tokens seen. */
  tokens: number;
  /** Positions that the loss counts: what `Stage.count` says of the same batch, or it is refused. */
  counted: number;
}

/** A loss, and further values of its trace that the stage's metrics are made of. */
export interface LossOutputs {
  loss: Value;
  [name: string]: Value;
}

/** Numbers that a stage reports beside its loss, such as rewardAccuracy. */
export type Metrics = Record<string, number>;

/**
 * A training stage: how rows become a micro-batch, and the loss as a function of the graph. The trainer does the rest.
 */
export interface Stage<Batch> {
  readonly name: string;
  /**
   * The arrays of one micro-batch. `total` is the number of counted positions of the whole step, over all of its
   * micro-batches: a mean over them is what accumulation must keep, also where micro-batches count differently many.
   * `weight` is the step's sum of `Stage.weight`, or `total` without it.
   */
  collate(batch: Batch, total: number, weight: number): MicroBatch;
  /** Counted positions of a batch, before it is collated. Batches of one step may have none, but not all of them. */
  count(batch: Batch): number;
  /**
   * A batch's weight in a mean that is not over counted positions: the sum of its class weights, for example. Default: `count`.
   * An evaluation reads the held-out batches twice where a stage has it, first for the sum over all of them.
   */
  weight?: ((batch: Batch) => number) | undefined;
  /**
   * The scalar to minimise, (1) f32: the micro-batch's share of the step's mean. Beside it, under names of their own, what
   * `metrics` reads.
   */
  loss(context: LossContext): Value | LossOutputs;
  /**
   * Numbers to report, from the named outputs of each micro-batch. Where it is left out, every output is one, f32(1), and is
   * reported under its name: the sum over the micro-batches, because each is a share of the step's mean like the loss.
   */
  metrics?:
    | ((outputs: readonly Readonly<Record<string, TensorData>>[], batches: readonly Batch[]) => Metrics)
    | undefined;
  /** Of how many items of the batches a metric is the mean, by its name, where these are not the counted positions. */
  metricCounts?: ((batches: readonly Batch[]) => Metrics) | undefined;
  /** Metrics that follow from means of others, such as their difference: computed again wherever means are taken. */
  derived?: ((metrics: Metrics) => Metrics) | undefined;
  /** Names among those of `metrics` that are shares of the step's mean, and add up over ranks; the others are means. */
  readonly shares?: readonly string[] | undefined;
}

/** Sums over the batches of a step, or of an evaluation, that shares of means are of. */
export interface Totals {
  count: number;
  /** The sum of `Stage.weight`. */
  weight: number;
}

export function totalsOf<Batch>(stage: Stage<Batch>, batches: readonly Batch[]): Totals {
  const sumOf = (value: (batch: Batch) => number) => batches.reduce((sum, batch) => sum + value(batch), 0);
  const count = sumOf((batch) => stage.count(batch));
  return { count, weight: stage.weight ? sumOf((batch) => stage.weight!(batch)) : count };
}

/** The metrics of a step by the rule in `Stage.metrics`. */
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

/** Sums by name. */
export function summed(list: readonly (readonly (readonly [name: string, value: number])[])[]): Metrics {
  const sums = new Map<string, number>();
  for (const [name, value] of list.flat()) sums.set(name, (sums.get(name) ?? 0) + value);
  return Object.fromEntries(sums);
}

/** `{ metrics }`; nothing where there are none. */
export function someOf(metrics: Metrics): { metrics?: Metrics } {
  return Object.keys(metrics).length > 0 ? { metrics } : {};
}
