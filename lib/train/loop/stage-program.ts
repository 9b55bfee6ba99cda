import { HeddleError } from "../../core/errors.ts";
import { firstPosition } from "../../formats/config/positions.ts";
import {
  compile,
  type Executable,
  gradients,
  type Inputs,
  input,
  type Program,
  type Results,
  type Tensor,
  tensor,
  Value,
} from "../../graph/index.ts";
import { type ForwardNoise, paddedRowInputs, sequenceForward } from "../../models/forward.ts";
import type { Model } from "../../models/model.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import type { FrozenMatrices } from "./frozen-weights.ts";
import { needRoom, needRoomForRows } from "./needed-memory.ts";
import {
  type LossContext,
  type LossOutputs,
  type Metrics,
  type MicroBatch,
  metricsOf,
  type Stage,
  type Totals,
  totalsOf,
} from "./stage.ts";
import type { StepShape } from "./step.ts";

/** A program's named outputs, without the loss. */
type Outputs = Awaited<ReturnType<Executable["run"]>>;

const ONE = Float32Array.of(1);

/** A kind of gradient program. */
interface GradientProgram {
  /** Whether it adds to the gradients instead of overwriting them. */
  keep: boolean;
  /** Whether it sums the gradients over the ranks while it runs. */
  sums: boolean;
}

/** A batch's share of a mean loss, and the stage's metrics with the number of items that each is the mean over. */
export interface Evaluated {
  loss: number;
  counted: number;
  metrics: Metrics;
  metricCounts: Metrics;
}

/**
 * Programs for a stage's loss over a model: one adds gradients of a micro-batch to the optimizer's tensors, one computes only the loss.
 */
export class StageProgram<Batch> {
  readonly stage: Stage<Batch>;
  /** First index of the family's position table. */
  private readonly begin: number;
  private readonly positions: Int32Array;
  private readonly tokenTypes: Int32Array;
  private readonly sequenceLength: number;
  /** Gradient programs, by whether they keep earlier gradients and sum over the ranks. Each is compiled when it is first needed. */
  private readonly programs = new Map<string, Executable>();
  private readonly bind: (kind: GradientProgram) => Executable;
  private readonly evaluation: Executable;

  /**
   * @param options.replay whether the batches come from an earlier stage and are mixed into the steps of another stage
   * @param options.evaluatesWhole whether evaluations read whole weights, even if the optimizer divides them
   * @param options.wholeAtTimes whether the weights are whole at times during the run
   * @param options.sums whether the first micro-batch of most steps sums the gradients over the ranks, because it is also the last one
   * @throws HeddleError OUT_OF_MEMORY if a micro-batch does not fit into memory
   */
  constructor(
    model: Model,
    stage: Stage<Batch>,
    shape: StepShape,
    optimizer: Optimizer,
    frozen: FrozenMatrices,
    {
      replay = false,
      evaluatesWhole = false,
      wholeAtTimes = false,
      sums = false,
    }: { replay?: boolean; evaluatesWhole?: boolean; wholeAtTimes?: boolean; sums?: boolean } = {},
  ) {
    this.stage = stage;
    const rows = shape.sequences * shape.sequenceLength;
    const { device } = model;
    const of = replay ? "replay" : undefined;
    needRoomForRows(model, shape, of);
    const { names, divided } = optimizer;
    const state = [optimizer.gradients, optimizer.moments, optimizer.weights, frozen.tensors];
    const besides = sizeOf(state.flatMap((tensors) => [...tensors.values()]));
    // At the end, memory holds the whole weights and this rank's parts, without the other state.
    const freed = wholeAtTimes ? 0 : sizeOf([...divided].map((name) => model.weight(name)));
    const parts = sizeOf([...optimizer.weights.values()]);
    const needed = (program: Program) =>
      program.arenaBytes + Math.max(optimizer.exchangeBytes + besides - freed, parts);
    const tensors = () => new Map([...model.tensors, ...optimizer.weights, ...frozen.tensors]);
    this.bind = ({ keep, sums }) => {
      const program = compile((): Results => {
        const outputs = lossOf(stage, model, shape, frozen, true);
        const weights = names.map((n) => tensor(n, "f32", model.weight(n).shape));
        const kept = keep ? input("keep", "f32", [1]) : undefined;
        const unused = new Set(names);
        gradients(outputs.loss, weights, input("seed", "f32", [1]), {
          recompute: shape.gradientCheckpointing,
          allowUnused: replay,
          collect(g, i) {
            optimizer.collect(names[i]!, g, kept);
            if (sums) optimizer.sum(names[i]!);
            unused.delete(names[i]!);
          },
        });
        // Earlier micro-batches have computed these gradients.
        if (sums) for (const name of unused) optimizer.sum(name);
        optimizer.divideTensors();
        return outputs;
      });
      // Later micro-batches reuse the memory that the program of the first one has already allocated.
      if (!keep) needRoom(device, shape, needed(program), of);
      return program.bind(device, new Map([...tensors(), ...optimizer.gradients]));
    };
    this.program({ keep: false, sums });
    this.tokenTypes = new Int32Array(rows);
    this.sequenceLength = shape.sequenceLength;
    this.begin = firstPosition(model.config);
    this.positions = new Int32Array(rows);
    for (let i = 0; i < rows; i++) this.positions[i] = this.begin + (i % shape.sequenceLength);
    const evaluation = compile((): Results => {
      const outputs = lossOf(stage, model, shape, frozen, false);
      if (!evaluatesWhole) optimizer.divideTensors();
      return outputs;
    });
    this.evaluation = evaluation.bind(device, tensors());
  }

  /**
   * Computes the gradients of a micro-batch, times `weight`. The first micro-batch overwrites the optimizer's gradient
   * tensors, later ones add to them.
   * @param options.totals sums over the batches of the whole step
   * @param options.keep whether to add to the gradients of earlier micro-batches instead of overwriting them
   * @param options.sums whether the program also sums the gradients over the ranks. Only the step's last micro-batch may do so
   * @param options.noise (3) i32: seed, step, micro-batch, which seed dropout and noise
   */
  async accumulate(
    batch: Batch,
    options: GradientProgram & {
      totals: Totals;
      weight?: number;
      noise: Int32Array;
      signal?: AbortSignal | undefined;
    },
  ): Promise<{ loss: number; tokens: number; outputs: Outputs; waitedSeconds: number }> {
    const { totals, weight = 1, noise, signal } = options;
    const micro = this.stage.collate(batch, totals.count, totals.weight);
    const program = this.program(options);
    // The gradient of the loss itself, from which the backward pass starts.
    const seed = weight === 1 ? ONE : Float32Array.of(weight);
    const { loss, ...outputs } = await program.run(this.inputs(program, micro, { noise, keep: ONE, seed }), { signal });
    return { loss: loss![0]!, tokens: micro.tokens, outputs, waitedSeconds: program.waitedSeconds };
  }

  /**
   * Computes a batch's share of the mean loss over all batches, without gradients.
   * @param totals sums over all batches. Default: of this batch alone, so that the share is its mean loss
   */
  async evaluate(
    batch: Batch,
    signal?: AbortSignal,
    totals: Totals = totalsOf(this.stage, [batch]),
  ): Promise<Evaluated> {
    const counted = this.stage.count(batch);
    if (counted === 0) return { loss: 0, counted, metrics: {}, metricCounts: {} };
    const inputs = this.inputs(this.evaluation, this.stage.collate(batch, totals.count, totals.weight));
    const { loss, ...named } = await this.evaluation.run(inputs, { signal });
    const metrics = metricsOf(this.stage, [named], [batch]);
    return { loss: loss![0]!, counted, metrics, metricCounts: this.stage.metricCounts?.([batch]) ?? {} };
  }

  /**
   * Selects the inputs that a program takes. An evaluation may read fewer inputs than a step, and few families read all
   * of them.
   */
  private inputs({ program: { inputNames } }: Executable, micro: MicroBatch, more: Inputs = {}): Inputs {
    const all: Inputs = { positions: this.positions, tokenTypes: this.tokenTypes, ...micro.inputs, ...more };
    // A stage counts positions from 0, but a family's position table may begin at a higher index.
    const given = micro.inputs.positions;
    if (given && this.begin > 0) all.positions = Int32Array.from(given, (position) => this.begin + position);
    if (inputNames.has("lengths")) all.lengths ??= this.lengthsOf(micro);
    return Object.fromEntries(Object.entries(all).filter(([name]) => inputNames.has(name)));
  }

  /** Returns the number of tokens of each row's document. Without documents, all rows of a sequence are tokens. */
  private lengthsOf({ inputs: { documents } }: MicroBatch): Int32Array {
    const { sequenceLength } = this;
    const lengths = new Int32Array(this.positions.length).fill(sequenceLength);
    if (!documents) return lengths;
    for (let first = 0, row = 1; row <= lengths.length; row++) {
      if (row % sequenceLength !== 0 && documents[row] === documents[first]) continue;
      lengths.fill(row - first, first, row);
      first = row;
    }
    return lengths;
  }

  private program({ keep, sums }: GradientProgram): Executable {
    const key = `${keep} ${sums}`;
    const program = this.programs.get(key) ?? this.bind({ keep, sums });
    this.programs.set(key, program);
    return program;
  }

  /** Size of the largest gradient program's intermediate values, in bytes. */
  get arenaBytes(): number {
    return Math.max(...[...this.programs.values()].map(({ program }) => program.arenaBytes));
  }

  dispose(): void {
    for (const program of this.programs.values()) program.dispose();
    this.evaluation.dispose();
  }
}

function sizeOf(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Traces a stage's loss over a model. */
function lossOf<Batch>(
  stage: Stage<Batch>,
  model: Model,
  shape: StepShape,
  frozen: FrozenMatrices,
  training: boolean,
): LossOutputs {
  const { sequences, sequenceLength, dtype, fp8 } = shape;
  const rows = sequences * sequenceLength;
  const weights = dtype === frozen.dtype ? frozen.weights() : new Map<string, Value>(); // shared, so that a matrix is rounded once
  let streams = 0; // each node draws from a separate noise stream
  const noise: ForwardNoise | undefined = training
    ? { key: () => input("noise", "i32", [3]), stream: () => streams++ }
    : undefined;
  const context: LossContext = {
    model,
    rows,
    sequences,
    sequenceLength,
    dtype,
    training,
    forward({ rows: own = paddedRowInputs(rows), documents, adapters = true, neftuneNoiseAlpha = 0 } = {}) {
      const names = typeof adapters === "boolean" ? (adapters ? undefined : []) : adapters;
      if (names && model.mergedAdapters.length > 0)
        throw new HeddleError(
          "INVALID_ARGUMENT",
          `${stage.name}: expected adapters that are not merged, because the model without them is the reference, got ${model.mergedAdapters.join(", ")} merged`,
        );
      const more = { documents, weights, adapters: names, noise, neftuneNoiseAlpha };
      return sequenceForward(model, own, { sequenceLength, dtype, fp8, ...more });
    },
  };
  const outputs = stage.loss(context);
  return outputs instanceof Value ? { loss: outputs } : outputs;
}
