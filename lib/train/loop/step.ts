import type { TensorData } from "../../formats/tensor-data.ts";
import type { FloatDType } from "../../graph/index.ts";
import { tensorData } from "../../models/loading/export.ts";
import type { Model } from "../../models/model.ts";
import { seedBits } from "../../models/random.ts";
import { Optimizer, type OptimizerOptions } from "../../optim/optimizer.ts";
import type { Sharding } from "../options/optimizer-options.ts";
import { DividedWeights } from "../sharding/divided-weights.ts";
import { dividesGradients, SharedState, shardingWorld, sumsInProgram } from "../sharding/sharding.ts";
import { gather, soloWorld, type World } from "../world/world.ts";
import { FrozenMatrices } from "./frozen-weights.ts";
import { MetricMeans } from "./metric-mean.ts";
import { type Metrics, metricsOf, type Stage, summed, type Totals, totalsOf } from "./stage.ts";
import { type Evaluated, StageProgram } from "./stage-program.ts";

/** The shape and the number formats of a micro-batch. */
export interface StepShape {
  sequences: number;
  sequenceLength: number;
  /** Element type of activations and of the matrices' copies. Master weights, moments and gradients are f32. */
  dtype: FloatDType;
  /** Round the operands of linear layers' products to 8-bit floats. Default false. */
  fp8?: boolean | undefined;
  /** Recompute layers in the backward pass instead of keeping them. Default false. */
  gradientCheckpointing?: boolean | undefined;
}

/** Batches of an earlier stage, mixed into every step to avoid forgetting. */
export interface Replay<Batch = unknown> {
  stage: Stage<Batch>;
  shape: StepShape;
  /** Factor of the replay's mean loss, which is added to the stage's loss. */
  weight: number;
}

/** Options of a `TrainStep`. */
export interface TrainStepOptions extends OptimizerOptions {
  /** Names of the trained weights; all others are frozen. Default: the weights that the logits of tokens depend on. */
  names?: readonly string[] | undefined;
  world?: World | undefined;
  /** The state that is divided among the ranks. Default: none. */
  sharding?: Sharding | undefined;
  replay?: Replay | undefined;
  /** Number of micro-batches that most steps have. Default 1. */
  microBatches?: number | undefined;
  /** Whether the caller calls `evaluate` inside `whole`, where divided weights are whole. Default false. */
  evaluatesWhole?: boolean | undefined;
  /** Whether divided weights become whole at times during the run, so that memory must hold all of them. Default: `evaluatesWhole`. */
  wholeAtTimes?: boolean | undefined;
  /** Seed of dropout and noise. */
  seed?: number | undefined;
}

/** Sums over the micro-batches of a step. */
export interface Accumulated {
  /** Mean over the counted positions. */
  loss: number;
  tokens: number;
  metrics: Metrics;
  /** For some metrics, the number of items that the metric is a mean over: see `Stage.metricCounts`. */
  metricCounts: Metrics;
  /** Seconds that each rank spent on computing gradients. 0 if they cannot be told from waiting. */
  rankSeconds: readonly number[];
}

interface StepResult extends Accumulated {
  /** L2 norm of the gradient before clipping. */
  gradNorm: number;
}

/** A training step of one model: gradients of micro-batches, including the replay's, and the update. */
export class TrainStep<Batch> {
  readonly optimizer: Optimizer;
  /** The state that the ranks share, with sharding. */
  readonly shared: SharedState | undefined;
  /** The weights that the ranks divide, with `sharding: "parameters"`. */
  readonly weights: DividedWeights | undefined;
  private readonly program: StageProgram<Batch>;
  private readonly replay: { program: StageProgram<unknown>; weight: number } | undefined;
  private readonly frozen: FrozenMatrices;
  private readonly world: World;
  /** Whether the program of a step's last micro-batch sums the gradients over the ranks while it runs. */
  private readonly sumsInProgram: boolean;
  private readonly model: Model;
  private readonly seed: number;

  private constructor(model: Model, stage: Stage<Batch>, shape: StepShape, options: TrainStepOptions) {
    const { names = model.languageWeightNames, world = soloWorld, sharding, replay, seed = 0, ...others } = options;
    const { evaluatesWhole = false, wholeAtTimes = evaluatesWhole, microBatches = 1, ...optimizer } = others;
    const ranks = shardingWorld(sharding, world);
    this.world = world;
    this.model = model;
    this.seed = seed;
    const weights = new Map(names.map((n) => [n, model.weight(n)]));
    const divides = { dividesGradients: dividesGradients(sharding), dividesParameters: sharding === "parameters" };
    this.optimizer = new Optimizer(model.device, weights, { ...optimizer, ranks, ...divides });
    this.shared = ranks && new SharedState(ranks, this.optimizer, model);
    if (ranks && divides.dividesParameters) this.weights = new DividedWeights(ranks, this.optimizer, model);
    this.frozen = new FrozenMatrices(model, names, shape.dtype);
    this.sumsInProgram = sumsInProgram(sharding, world);
    this.program = new StageProgram(model, stage, shape, this.optimizer, this.frozen, {
      evaluatesWhole,
      wholeAtTimes,
      sums: this.sumsInProgram && microBatches === 1 && !replay,
    });
    this.replay = replay && {
      // With `replay`, weights may be unused: replayed text does not use a classifier or a value head.
      program: new StageProgram(model, replay.stage, replay.shape, this.optimizer, this.frozen, {
        replay: true,
        wholeAtTimes,
      }),
      weight: replay.weight,
    };
  }

  static async create<Batch>(
    model: Model,
    stage: Stage<Batch>,
    shape: StepShape,
    options: TrainStepOptions = {},
  ): Promise<TrainStep<Batch>> {
    const { world, sharding } = options;
    if (dividesGradients(sharding) || sumsInProgram(sharding, world)) await world?.joinDevice?.(model.device);
    await model.prepareForTraining(options.names ?? model.languageWeightNames);
    const step = new TrainStep(model, stage, shape, options);
    try {
      await step.frozen.fill();
    } catch (error) {
      step.dispose();
      throw error;
    }
    return step;
  }

  /** Updates the weights from the current gradients. @returns the gradients' norm */
  async update(learningRate: number): Promise<number> {
    try {
      const gradNorm = await this.optimizer.step(learningRate);
      await this.shared?.gatherWeights();
      return gradNorm;
    } finally {
      this.model.weightsChanged();
    }
  }

  /** Sums the gradients of the batches, then updates once. An abort leaves parameters and moments unchanged. */
  async run(
    batches: readonly Batch[],
    learningRate: number,
    signal?: AbortSignal,
    replayed?: readonly unknown[],
  ): Promise<StepResult> {
    const accumulated = await this.accumulate(batches, signal, replayed);
    return { ...accumulated, gradNorm: await this.update(learningRate) };
  }

  /**
   * Sums the gradients of the batches, over all ranks, in the optimizer's tensors. With sharding, only this rank's part has the sums.
   * @param replayed batches of the replay; their mean loss is reported as `replayLoss`
   */
  async accumulate(
    batches: readonly Batch[],
    signal?: AbortSignal,
    replayed: readonly unknown[] = [],
  ): Promise<Accumulated> {
    await this.weights?.divide();
    const { world, replay } = this;
    const { stage } = this.program;
    const own = totalsOf(stage, batches);
    const again = replay ? totalsOf(replay.program.stage, replayed) : { count: 0, weight: 0 };
    const sums = await world.sum([own.count, own.weight, again.count, again.weight]);
    const totals: Totals = { count: sums[0]!, weight: sums[1]! };
    const replayTotals: Totals = { count: sums[2]!, weight: sums[3]! };
    const started = performance.now();
    const micros = batches.length + (replay ? replayed.length : 0);
    let micro = 0;
    const next = () => {
      const sums = this.sumsInProgram && micro === micros - 1;
      return { keep: micro > 0, sums, noise: this.noise(micro++), signal };
    };
    let [loss, tokens, replayLoss, waited] = [0, 0, 0, 0];
    const outputs = [];
    for (const batch of batches) {
      const result = await this.program.accumulate(batch, { totals, ...next() });
      loss += result.loss;
      tokens += result.tokens;
      waited += result.waitedSeconds;
      outputs.push(result.outputs);
    }
    for (const batch of replay ? replayed : []) {
      const options = { totals: replayTotals, weight: replay!.weight, ...next() };
      const result = await replay!.program.accumulate(batch, options);
      replayLoss += result.loss;
      tokens += result.tokens;
      waited += result.waitedSeconds;
    }
    // On CUDA, the time of a program that divides gradients includes unknown waits for other ranks.
    const isKnown = !this.optimizer.dividesGradients || this.model.device.kind === "cpu";
    const seconds = isKnown ? (performance.now() - started) / 1000 - waited : 0;
    if (!this.sumsInProgram || micros === 0) await this.sumGradients();
    const [lossOfAll, tokensOfAll, replayOfAll] = await world.sum([loss, tokens, replayLoss]);
    const mine = {
      metrics: metricsOf(stage, outputs, batches),
      count: own.count,
      counts: stage.metricCounts?.(batches) ?? {},
      seconds,
    };
    const ranks = await gather(world, mine);
    const metrics = overRanks(ranks, stage);
    if (replay) metrics.replayLoss = replayOfAll!;
    return {
      loss: lossOfAll!,
      tokens: tokensOfAll!,
      metrics,
      metricCounts: summed(ranks.map((rank) => numbersOf(rank.counts))),
      rankSeconds: ranks.map((rank) => rank.seconds),
    };
  }

  /** Sums the gradients over all ranks after the step's programs. It is called only if these have not done it. */
  private async sumGradients(): Promise<void> {
    if (this.shared) await this.shared.sumGradients();
    else await this.world.allReduce([...this.optimizer.gradients.values()]);
  }

  /**
   * Runs `work` with the model's whole weights. With divided weights, all ranks must call it at the same time, and `work` must not change
   * the weights.
   */
  whole<T>(work: () => Promise<T>): Promise<T> {
    return this.weights ? this.weights.whole(work) : work();
  }

  /** Computes a batch's share of a mean loss, without gradients. Without `totals`, returns the batch's mean loss. */
  async evaluate(batch: Batch, signal?: AbortSignal, totals?: Totals): Promise<Evaluated> {
    await this.weights?.divide();
    return this.program.evaluate(batch, signal, totals);
  }

  /**
   * Returns the optimizer's state for a checkpoint. With sharding, the other ranks must call `shared.sendState` at the
   * same time.
   */
  stateData(): TensorData[] {
    return this.shared?.stateData() ?? [...this.optimizer.moments].map(([name, t]) => tensorData(name, t, "f32"));
  }

  /** Whether all trained weights are finite. */
  async isFinite(): Promise<boolean> {
    for (const name of this.optimizer.names)
      for (const value of await this.model.weight(name).toFloat32()) if (!Number.isFinite(value)) return false;
    return true;
  }

  /** Size of the largest gradient program's intermediate values, in bytes. */
  get arenaBytes(): number {
    return Math.max(this.program.arenaBytes, this.replay?.program.arenaBytes ?? 0);
  }

  /**
   * Returns the key of a micro-batch's noise: seed, step, and the number of the micro-batch over all ranks. A resumed
   * run draws the same noise.
   */
  private noise(micro: number): Int32Array {
    return Int32Array.of(seedBits(this.seed), this.optimizer.steps, micro * this.world.size + this.world.rank);
  }

  /**
   * Makes the model's weights whole again after the last update. The optimizer's state is freed first, so that memory need not hold both.
   * All ranks must call it at the same time.
   */
  async end(): Promise<void> {
    if (!this.weights) return;
    this.disposeState();
    await this.weights.restore();
  }

  /** Frees everything except the divided weights. */
  private disposeState(): void {
    this.program.dispose();
    this.replay?.program.dispose();
    this.frozen.dispose();
    this.shared?.dispose();
    this.optimizer.disposeState();
  }

  dispose(): void {
    this.disposeState();
    this.optimizer.dispose();
  }
}

/** Combines the metrics of a step's ranks. Shares of the step's mean are summed, and means are weighted by their counts. */
function overRanks(
  ranks: readonly { metrics: Metrics; count: number; counts: Metrics }[],
  stage: Stage<never>,
): Metrics {
  if (ranks.length === 1) return ranks[0]!.metrics;
  const isShare = (name: string) => !stage.metrics || (stage.shares?.includes(name) ?? false);
  const part = (metrics: Metrics, shares: boolean): Metrics =>
    Object.fromEntries(Object.entries(metrics).filter(([name]) => isShare(name) === shares));
  const means = new MetricMeans();
  for (const { metrics, count, counts } of ranks) means.add(part(metrics, false), count, counts);
  return { ...means.of(stage), ...summed(ranks.map(({ metrics }) => numbersOf(part(metrics, true)))) };
}

/** Drops values that are not numbers. NaN and infinity become null in JSON. */
function numbersOf(metrics: Metrics): [string, number][] {
  return Object.entries(metrics).filter(([, value]) => typeof value === "number");
}
