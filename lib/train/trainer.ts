import { HeddleError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import type { CheckpointStore } from "./checkpoints.ts";
import type { Stage } from "./stage.ts";
import { type StepShape, TrainStep } from "./step.ts";

/** A completed optimiser step (of the loggingSteps before it, where that is above 1: the means). */
export interface StepEvent {
  /** Completed optimiser steps, from 1. */
  step: number;
  /** Mean loss over the counted positions, nats a token. */
  loss: number;
  learningRate: number;
  /** Global L2 norm of the gradient before clipping. */
  gradNorm: number;
  tokensPerSecond: number;
  /** Tokens read since step 1, resumed runs included. */
  tokensSeen: number;
}

/** An evaluation on the held-out data. */
export interface EvalEvent {
  step: number;
  /** Mean loss, nats a token. */
  evalLoss: number;
  tokens: number;
}

export type TrainEvent = StepEvent | EvalEvent;

export interface TrainResult {
  steps: number;
  tokensSeen: number;
  /** Of the last step. */
  loss: number;
  evalLoss?: number | undefined;
  /** Wall-clock seconds of this run. */
  seconds: number;
  /** The folder of the finished model, where outputDir was given. */
  path?: string | undefined;
}

/** Micro-batches in order, with a position that a checkpoint keeps. */
export interface BatchSource<Batch> {
  next(signal?: AbortSignal): Promise<Batch>;
  state(): unknown;
  restore(state: unknown): void;
  /** The held-out batches, the same ones every time; absent: no evaluation. */
  evaluation?: ((signal?: AbortSignal) => AsyncIterable<Batch>) | undefined;
  dispose(): void;
}

export interface TrainerOptions extends StepShape {
  maxSteps: number;
  gradientAccumulationSteps: number;
  learningRateAt(step: number): number;
  weightDecay: number;
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
  maxGradNorm: number;
  loggingSteps: number;
  evalSteps?: number | undefined;
  saveSteps?: number | undefined;
  skipNonFinite: boolean;
  signal?: AbortSignal | undefined;
}

/** What a checkpoint keeps besides tensors. */
export interface TrainerState {
  version: 1;
  stage: string;
  step: number;
  optimizerSteps: number;
  tokensSeen: number;
  /** Of the last step; null before the first. */
  loss: number | null;
  data: unknown;
}

/**
 * The loop of every stage: batches, step, log, evaluation, checkpoint. It owns neither the model nor the data.
 * With a store it first continues from the checkpoint that the store found. An abort is answered after the running micro-batch,
 * and the last completed step is saved first.
 */
export async function* trainLoop<Batch>(
  model: Model,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainerOptions,
  store?: CheckpointStore,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const started = performance.now();
  const { signal } = options;
  const step = await TrainStep.create(model, stage, options, {
    beta1: options.adamBeta1,
    beta2: options.adamBeta2,
    eps: options.adamEpsilon,
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
  });
  let done = 0;
  let tokensSeen = 0;
  let loss = Number.NaN;
  let evalLoss: number | undefined;
  let saved = -1;
  let position = source.state();
  const state = (): TrainerState => ({
    version: 1,
    stage: stage.name,
    step: done,
    optimizerSteps: step.optimizer.steps,
    tokensSeen,
    loss: Number.isFinite(loss) ? loss : null,
    data: position,
  });
  const save = async () => {
    if (!store || saved === done) return;
    await store.save(done, model, step.optimizer, state());
    saved = done;
  };
  try {
    const resumed = await store?.restore(model, step.optimizer, stage.name);
    if (resumed) {
      ({ step: done, tokensSeen } = resumed);
      loss = resumed.loss ?? Number.NaN;
      saved = done;
      step.optimizer.steps = resumed.optimizerSteps;
      source.restore(resumed.data);
      position = resumed.data;
    }
    const meter = new Meter();
    let upcoming = fetch(source, options.gradientAccumulationSteps, signal);
    while (done < options.maxSteps) {
      const { batches, after } = await upcoming;
      // The next batches are read and encoded while this step computes.
      if (done + 1 < options.maxSteps) upcoming = fetch(source, options.gradientAccumulationSteps, signal);
      const learningRate = options.learningRateAt(done + 1);
      const accumulated = await step.accumulate(batches, signal);
      if (!Number.isFinite(accumulated.loss) && !options.skipNonFinite)
        throw new HeddleError(
          "NUMERICAL",
          `step ${done + 1}: expected a finite loss, got ${accumulated.loss}; a lower learningRate or maxGradNorm may help`,
        );
      const gradNorm = Number.isFinite(accumulated.loss) ? await step.optimizer.step(learningRate) : Number.NaN;
      done += 1;
      position = after;
      tokensSeen += accumulated.tokens;
      loss = accumulated.loss;
      meter.add(accumulated.loss, accumulated.tokens);
      if (done % options.loggingSteps === 0 || done === options.maxSteps)
        yield { step: done, ...meter.take(), learningRate, gradNorm, tokensSeen };
      if (source.evaluation && (done === options.maxSteps || (options.evalSteps && done % options.evalSteps === 0))) {
        const event = await evaluate(step, source.evaluation(signal), done, signal);
        evalLoss = event.evalLoss;
        yield event;
        meter.restart();
      }
      if (options.saveSteps && done % options.saveSteps === 0) {
        await save();
        meter.restart();
      }
    }
    await save();
    if (source.evaluation && evalLoss === undefined) {
      // Resumed at the end: the finished model's card still states its held-out loss.
      const event = await evaluate(step, source.evaluation(signal), done, signal);
      evalLoss = event.evalLoss;
      yield event;
    }
    const path = await store?.finish(model, state(), evalLoss);
    return { steps: done, tokensSeen, loss, evalLoss, seconds: (performance.now() - started) / 1000, path };
  } catch (error) {
    if (signal?.aborted && done > 0) await save();
    throw error;
  } finally {
    step.dispose();
  }
}

function fetch<Batch>(
  source: BatchSource<Batch>,
  count: number,
  signal: AbortSignal | undefined,
): Promise<{ batches: Batch[]; after: unknown }> {
  const work = (async () => {
    const batches: Batch[] = [];
    for (let i = 0; i < count; i++) batches.push(await source.next(signal));
    return { batches, after: source.state() };
  })();
  work.catch(() => undefined); // reported where it is awaited
  return work;
}

async function evaluate<Batch>(
  step: TrainStep<Batch>,
  batches: AsyncIterable<Batch>,
  done: number,
  signal: AbortSignal | undefined,
): Promise<EvalEvent> {
  let sum = 0;
  let tokens = 0;
  for await (const batch of batches) {
    const { loss, counted } = await step.evaluate(batch, signal);
    sum += loss * counted;
    tokens += counted;
  }
  if (tokens === 0)
    throw new HeddleError("INVALID_ARGUMENT", "evalData: expected at least one token to predict, got none");
  return { step: done, evalLoss: sum / tokens, tokens };
}

/** Mean loss and speed since the last report. */
class Meter {
  private losses = 0;
  private steps = 0;
  private tokens = 0;
  private since = performance.now();

  add(loss: number, tokens: number): void {
    this.losses += loss;
    this.steps += 1;
    this.tokens += tokens;
  }
  take(): { loss: number; tokensPerSecond: number } {
    const seconds = (performance.now() - this.since) / 1000;
    const result = {
      loss: this.losses / this.steps,
      tokensPerSecond: Math.round(this.tokens / Math.max(seconds, 1e-9)),
    };
    this.losses = this.steps = this.tokens = 0;
    this.since = performance.now();
    return result;
  }
  /** Leaves out time that was not training. Only between reports. */
  restart(): void {
    if (this.steps === 0) this.since = performance.now();
  }
}
