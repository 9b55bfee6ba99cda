import { HeddleError } from "../errors.ts";
import {
  compile,
  type Executable,
  type FloatDType,
  gradients,
  input,
  type Results,
  tensor,
  Value,
} from "../graph/index.ts";
import { rowInputs, sequenceForward } from "../models/forward.ts";
import type { Model } from "../models/model.ts";
import { AdamW, type AdamWOptions } from "../optim/adamw.ts";
import { type LossContext, type LossOutputs, type Metrics, type MicroBatch, metricsOf, type Stage } from "./stage.ts";
import { soloWorld, type World } from "./world.ts";

export interface StepShape {
  sequences: number;
  sequenceLength: number;
  /** Of activations and of the matrices' copies; masters, moments and gradients are f32. */
  dtype: FloatDType;
}

export interface TrainStepOptions extends AdamWOptions {
  /** Weights that are trained; all others are frozen and untouched. Default: what logits of tokens depend on. */
  names?: readonly string[] | undefined;
  world?: World | undefined;
}

/** Sums over the micro-batches of a step. */
export interface Accumulated {
  /** Mean over the counted positions. */
  loss: number;
  tokens: number;
  metrics: Metrics;
}

export interface StepResult extends Accumulated {
  /** L2 norm of the gradient before clipping. */
  gradNorm: number;
}

const ONE = Float32Array.of(1);
const ZERO = Float32Array.of(0);

/** The programs of a training step over one model: gradients of a micro-batch, update, and the loss alone. */
export class TrainStep<Batch> {
  readonly optimizer: AdamW;
  private readonly stage: Stage<Batch>;
  private readonly world: World;
  private readonly positions: Int32Array;
  private readonly gradient: Executable;
  private readonly evaluation: Executable;

  private constructor(model: Model, stage: Stage<Batch>, shape: StepShape, options: TrainStepOptions) {
    const { names = model.languageWeightNames, world = soloWorld, ...adamw } = options;
    this.stage = stage;
    this.world = world;
    const rows = shape.sequences * shape.sequenceLength;
    this.positions = Int32Array.from({ length: rows }, (_, i) => i % shape.sequenceLength);
    this.optimizer = new AdamW(model.device, new Map(names.map((n) => [n, model.weight(n)])), adamw);
    const gradientProgram = compile((): Results => {
      const outputs = lossOf(stage, model, shape, true);
      const weights = names.map((n) => tensor(n, "f32", model.weight(n).shape));
      const keep = input("keep", "f32", [1]);
      for (const [i, g] of gradients(outputs.loss, weights, input("one", "f32", [1])).entries())
        AdamW.collect(names[i]!, g, keep);
      return outputs;
    });
    this.gradient = gradientProgram.bind(model.device, new Map([...model.tensors, ...this.optimizer.gradients]));
    this.evaluation = compile((): Results => lossOf(stage, model, shape, false)).bind(model.device, model.tensors);
  }

  static async create<Batch>(
    model: Model,
    stage: Stage<Batch>,
    shape: StepShape,
    options: TrainStepOptions = {},
  ): Promise<TrainStep<Batch>> {
    await model.prepareForTraining(options.names ?? model.languageWeightNames);
    return new TrainStep(model, stage, shape, options);
  }

  /** Gradients of the batches added up, then one update. An abort leaves parameters and moments as they were. */
  async run(batches: readonly Batch[], learningRate: number, signal?: AbortSignal): Promise<StepResult> {
    const accumulated = await this.accumulate(batches, signal);
    return { ...accumulated, gradNorm: await this.optimizer.step(learningRate) };
  }

  /** Gradients of the batches, of all ranks, added up in the optimizer's tensors. */
  async accumulate(batches: readonly Batch[], signal?: AbortSignal): Promise<Accumulated> {
    const { stage, world } = this;
    const own = batches.reduce((n, b) => n + stage.count(b), 0);
    const [total] = await world.sum([own]);
    let loss = 0;
    let tokens = 0;
    const outputs = [];
    for (const [i, batch] of batches.entries()) {
      const micro = stage.collate(batch, total!);
      const inputs = { ...this.inputs(micro), keep: i ? ONE : ZERO, one: ONE };
      const { loss: share, ...named } = await this.gradient.run(inputs, { signal });
      loss += share![0]!;
      tokens += micro.tokens;
      outputs.push(named);
    }
    await world.allReduce([...this.optimizer.gradients.values()]);
    const metrics = metricsOf(stage, outputs, batches);
    // A stage's own metrics stay this rank's; shares of the step's mean add up like the loss.
    const names = stage.metrics ? [] : Object.keys(metrics);
    const [lossOfAll, tokensOfAll, ...sums] = await world.sum([loss, tokens, ...names.map((n) => metrics[n]!)]);
    for (const [i, name] of names.entries()) metrics[name] = sums[i]!;
    return { loss: lossOfAll!, tokens: tokensOfAll!, metrics };
  }

  /** The mean loss over a batch's counted positions, without gradients. */
  async evaluate(batch: Batch, signal?: AbortSignal): Promise<{ loss: number; counted: number; metrics: Metrics }> {
    const counted = this.stage.count(batch);
    if (counted === 0) return { loss: 0, counted, metrics: {} };
    const run = this.evaluation.run(this.inputs(this.stage.collate(batch, counted)), { signal });
    const { loss, ...named } = await run;
    return { loss: loss![0]!, counted, metrics: metricsOf(this.stage, [named], [batch]) };
  }

  private inputs(micro: MicroBatch) {
    return { positions: this.positions, ...micro.inputs };
  }

  dispose(): void {
    this.gradient.dispose();
    this.evaluation.dispose();
    this.optimizer.dispose();
  }
}

/** Traces a stage's loss over a model. */
function lossOf<Batch>(stage: Stage<Batch>, model: Model, shape: StepShape, training: boolean): LossOutputs {
  const { sequences, sequenceLength, dtype } = shape;
  const rows = sequences * sequenceLength;
  const weights = new Map(); // shared by all forward passes, so that a matrix is rounded once
  const context: LossContext = {
    model,
    rows,
    sequences,
    sequenceLength,
    dtype,
    training,
    forward({ rows: own = rowInputs(rows), adapters = true } = {}) {
      const names = typeof adapters === "boolean" ? (adapters ? undefined : []) : adapters;
      if (names && model.mergedAdapters.length > 0)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${stage.name}: expected adapters that are not merged, because the model without them is the reference, got ${model.mergedAdapters.join(", ")} merged`,
        );
      return sequenceForward(model, own, { sequenceLength, dtype, weights, adapters: names });
    },
  };
  const outputs = stage.loss(context);
  return outputs instanceof Value ? { loss: outputs } : outputs;
}
