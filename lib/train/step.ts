import { compile, type Executable, type FloatDType, gradients, input, tensor, type Value } from "../graph/index.ts";
import { rowInputs, sequenceForward } from "../models/forward.ts";
import type { Model } from "../models/model.ts";
import { AdamW, type AdamWOptions } from "../optim/adamw.ts";
import type { LossContext, MicroBatch, Stage } from "./stage.ts";

export interface StepShape {
  sequences: number;
  sequenceLength: number;
  /** Of activations and of the matrices' copies; masters, moments and gradients are f32. */
  dtype: FloatDType;
}

export interface StepResult {
  /** Mean over the counted positions. */
  loss: number;
  /** L2 norm of the gradient before clipping. */
  gradNorm: number;
  tokens: number;
}

const ONE = Float32Array.of(1);
const ZERO = Float32Array.of(0);

/** The programs of a training step over one model: gradients of a micro-batch, update, and the loss alone. */
export class TrainStep<Batch> {
  readonly optimizer: AdamW;
  private readonly stage: Stage<Batch>;
  private readonly positions: Int32Array;
  private readonly gradient: Executable<{ loss: Value }>;
  private readonly evaluation: Executable<{ loss: Value }>;

  private constructor(
    model: Model,
    stage: Stage<Batch>,
    shape: StepShape,
    names: readonly string[],
    options: AdamWOptions,
  ) {
    this.stage = stage;
    const rows = shape.sequences * shape.sequenceLength;
    this.positions = Int32Array.from({ length: rows }, (_, i) => i % shape.sequenceLength);
    const parameters = new Map(names.map((n) => [n, model.weight(n)]));
    this.optimizer = new AdamW(model.device, parameters, options);

    const loss = (): Value => {
      const context: LossContext = {
        rows,
        sequenceLength: shape.sequenceLength,
        dtype: shape.dtype,
        forward: () => sequenceForward(model, rowInputs(rows), shape),
      };
      return stage.loss(context);
    };
    const gradientProgram = compile(() => {
      const value = loss();
      const weights = names.map((n) => weightValue(model, n));
      const keep = input("keep", "f32", [1]);
      for (const [i, g] of gradients(value, weights, input("one", "f32", [1])).entries())
        AdamW.collect(names[i]!, g, keep);
      return { loss: value };
    });
    this.gradient = gradientProgram.bind(model.device, new Map([...model.tensors, ...this.optimizer.gradients]));
    this.evaluation = compile(() => ({ loss: loss() })).bind(model.device, model.tensors);
  }

  /** @param names the weights that are trained; all others are frozen and untouched */
  static async create<Batch>(
    model: Model,
    stage: Stage<Batch>,
    shape: StepShape,
    options: AdamWOptions & { names?: readonly string[] } = {},
  ): Promise<TrainStep<Batch>> {
    const { names = model.weightNames, ...adamw } = options;
    await model.prepareForTraining(names);
    return new TrainStep(model, stage, shape, names, adamw);
  }

  /** Gradients of the batches added up, then one update. An abort leaves parameters and moments as they were. */
  async run(batches: readonly Batch[], learningRate: number, signal?: AbortSignal): Promise<StepResult> {
    const { loss, tokens } = await this.accumulate(batches, signal);
    return { loss, tokens, gradNorm: await this.optimizer.step(learningRate) };
  }

  /** Gradients of the batches, added up in the optimizer's tensors. */
  async accumulate(batches: readonly Batch[], signal?: AbortSignal): Promise<{ loss: number; tokens: number }> {
    const total = batches.reduce((n, b) => n + this.stage.count(b), 0);
    let loss = 0;
    let tokens = 0;
    for (const [i, batch] of batches.entries()) {
      const micro = this.stage.collate(batch, total);
      const result = await this.gradient.run({ ...this.inputs(micro), keep: i ? ONE : ZERO, one: ONE }, { signal });
      loss += result.loss[0]!;
      tokens += micro.tokens;
    }
    return { loss, tokens };
  }

  /** The mean loss over a batch's counted positions, without gradients. */
  async evaluate(batch: Batch, signal?: AbortSignal): Promise<{ loss: number; counted: number }> {
    const counted = this.stage.count(batch);
    if (counted === 0) return { loss: 0, counted };
    const { loss } = await this.evaluation.run(this.inputs(this.stage.collate(batch, counted)), { signal });
    return { loss: loss[0]!, counted };
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

function weightValue(model: Model, name: string): Value {
  return tensor(name, "f32", model.weight(name).shape);
}
