import type { Model } from "../../models/model.ts";
import type { MuonOptions } from "../../optim/muon.ts";
import type { OptimizerGroup } from "../../optim/optimizer.ts";
import { Best, type BestOptions, type BestState } from "../checkpoint/best-checkpoint.ts";
import type { CheckpointStore } from "../checkpoint/checkpoints.ts";
import type { RunRecord } from "../checkpoint/run-record.ts";
import type { Sharding } from "../options/optimizer-options.ts";
import { checkSameOptions } from "../options/run-options.ts";
import type { SampledCompletion } from "../tracking/tracker.ts";
import { fromFirst, numbersOfFirst } from "../world/first-rank.ts";
import { needSameStart } from "../world/same-start.ts";
import { SlowRanks } from "../world/slow-ranks.ts";
import { type StoppingWorld, stopIfAgreed } from "../world/stop-together.ts";
import { soloWorld } from "../world/world.ts";
import { fetch, wholeFor } from "./fetch-batches.ts";
import { measureHeldOut } from "./held-out.ts";
import { LossSpikeGuard, type LossSpikeGuardOptions, type LossSpikeGuardState } from "./loss-spike-guard.ts";
import { needRoomForBatches } from "./needed-memory.ts";
import { type Metrics, type Stage, someOf } from "./stage.ts";
import { type Replay, type StepShape, TrainStep } from "./step.ts";
import { Meter, type MeterState } from "./throughput.ts";
import { emitWarning } from "./warn.ts";

/**
 * A completed optimizer step. If loggingSteps is above 1, `loss`, `metrics` and `tokensPerSecond` are means over the steps since the last
 * event. All other values are of this step.
 */
export interface StepEvent {
  /** Number of completed optimizer steps, from 1. */
  step: number;
  /** Number of steps of the whole run. */
  maxSteps: number;
  /** Mean loss over the counted positions, in nats per token. NaN if every step was skipped (skipNonFinite). */
  loss: number;
  /** Learning rate of the step, after warm-up and decay. */
  learningRate: number;
  /** Global L2 norm of the gradient before clipping. */
  gradNorm: number;
  /** Speed of training, in tokens read per second. */
  tokensPerSecond: number;
  /** Number of tokens read since step 1, including the run before a resume. */
  tokensSeen: number;
  /** Number of steps since step 1 that were skipped (skipNonFinite, skipLossSpikes). Their gradients changed nothing. */
  skippedSteps: number;
  /** Number of steps since step 1 with a loss spike, if detection is on (lossSpikeThreshold). */
  lossSpikes?: number | undefined;
  /** The stage's metrics, such as rewardAccuracy. */
  metrics?: Metrics | undefined;
  /** With logCompletions: answers of the last rollout. They are written to completions.jsonl, not to the log. */
  completions?: readonly SampledCompletion[] | undefined;
}

/** An evaluation on the held-out data. */
export interface EvalEvent {
  /** Number of completed steps at the evaluation. */
  step: number;
  /** Number of steps of the whole run. */
  maxSteps: number;
  /** Mean loss over the held-out data, in nats per token. Undefined if `evaluate` is the only measurement. */
  evalLoss?: number | undefined;
  /** Number of positions over which the loss is averaged. */
  tokens: number;
  /** The stage's metrics, as weighted means over the batches that have them, and the results of `evaluate`. */
  metrics?: Metrics | undefined;
  /** With logCompletions: answers to held-out prompts. */
  completions?: readonly SampledCompletion[] | undefined;
}

/** An event of a training: a step (with `loss`) or an evaluation (with `evalLoss`). */
export type TrainEvent = StepEvent | EvalEvent;

/** The result of a training. */
export interface TrainResult {
  /** Number of steps of the whole run, including steps before a resume. */
  steps: number;
  /** Number of tokens read in the whole run. */
  tokensSeen: number;
  /** Loss of the last step. */
  loss: number;
  /** Number of skipped steps in the whole run. */
  skippedSteps: number;
  /** Number of steps with a loss spike in the whole run, if detection is on. */
  lossSpikes?: number | undefined;
  /** The loss of the finished model over the held-out data, if there is any. */
  evalLoss?: number | undefined;
  /** The metrics of the finished model's evaluation. */
  evalMetrics?: Metrics | undefined;
  /** With loadBestModelAtEnd: the step whose weights the finished model has. */
  bestStep?: number | undefined;
  /** Wall-clock seconds of this run. */
  seconds: number;
  /** The folder of the finished model, if outputDir was given. */
  path?: string | undefined;
}

/** An endless sequence of micro-batches, with a position that checkpoints store. */
export interface BatchSource<Batch> {
  /**
   * Returns the next batch. A source never ends, but starts another pass.
   * @param signal the training's signal. A pending call rejects when it fires
   */
  next(signal?: AbortSignal): Promise<Batch>;
  /** Skips the next batch, which another rank takes. Default: calls `next` and drops the result. */
  skip?: ((signal?: AbortSignal) => Promise<void>) | undefined;
  /** The position of the next batch, as JSON for checkpoints. */
  state(): unknown;
  /** Continues from a `state`, so that the next batch is the same as it was then. Throws if the position is of other data. */
  restore(state: unknown): void;
  /** The held-out batches, the same ones every time. Absent: no evaluation. */
  evaluation?: ((signal?: AbortSignal) => AsyncIterable<Batch>) | undefined;
  /** false: a batch is requested only after the step before it, because it depends on the weights (generated answers). */
  readonly prefetch?: boolean | undefined;
  /** Without `prefetch`: whether the next batch needs the weights. Default true. */
  readonly readsModel?: boolean | undefined;
  /** Frees the source's resources. Called once when the training ends, also after an error. */
  dispose(): void;
}

/** Options of a training run. */
export interface TrainerOptions extends StepShape, BestOptions, LossSpikeGuardOptions {
  maxSteps: number;
  gradientAccumulationSteps: number;
  learningRateAt(step: number): number;
  weightDecay: number;
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
  maxGradNorm: number;
  /** Matrices that Muon updates. Default: none. */
  muon?: MuonOptions | undefined;
  /** Parameters with separate rates. Default: none. */
  groups?: readonly OptimizerGroup[] | undefined;
  /** Facts that checkpoints store about the run, and that a resume checks. */
  record?: RunRecord | undefined;
  /** Lets a resume change the record's options, with a warning. Default false. */
  allowChangedOptions?: boolean | undefined;
  loggingSteps: number;
  evalSteps?: number | undefined;
  /** Measures the current model, in addition to held-out batches or without them. Only rank 0 calls it. */
  evaluate?: ((at: { step: number; signal?: AbortSignal | undefined }) => Metrics | Promise<Metrics>) | undefined;
  /** Number of steps between checkpoints. Default: 0, only at the end. */
  saveSteps?: number | undefined;
  /** Names of the trained weights; all others are frozen. Default: all. */
  names?: readonly string[] | undefined;
  world?: StoppingWorld | undefined;
  /** The state that is divided among the ranks. Default: none. */
  sharding?: Sharding | undefined;
  /** Called once, when the weights are final, before the finished model is written. Fits or measures further values on held-out data. */
  finish?: (() => Promise<Metrics>) | undefined;
  /**
   * Called after the last check that could reject the run, before weights are loaded or trained.
   * @param step number of steps before a resume
   */
  begins?: ((step: number) => void) | undefined;
  /** Batches of an earlier stage, one for each step. */
  replay?: (Replay & { source: BatchSource<unknown> }) | undefined;
  /** Seed of dropout and noise. */
  seed?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Receives warnings. Default: process.emitWarning. */
  warn?: ((message: string) => void) | undefined;
}

/** The state in a checkpoint, without tensors. */
export interface TrainerState extends RunRecord {
  version: 1;
  stage: string;
  step: number;
  optimizerSteps: number;
  tokensSeen: number;
  /** Loss of the last step; null before the first. */
  loss: number | null;
  /** Step of the last evaluation; 0 without one. Absent in older checkpoints. */
  evaluated?: number;
  best?: BestState;
  /** Sums since the last report, if there were steps since. */
  meter?: MeterState | undefined;
  /** Absent in older checkpoints. */
  watch?: LossSpikeGuardState;
  /** Set in a checkpoint that was not requested. The run's next checkpoint replaces it. */
  replaceable?: boolean;
  data: unknown;
  /** Position in the replayed data. */
  replay?: unknown;
}

/**
 * The loop of every stage: batches, step, log, evaluation, checkpoint. It owns neither the model nor the data. With a
 * store, it first resumes from the checkpoint that the store finds. An abort takes effect within the running
 * micro-batch, after the current op (on CUDA after the micro-batch). After an abort or an error, the loop saves the last
 * completed step. After an error, it saves only if the weights are finite and the optimizer state is not sharded, and it
 * removes no older checkpoint. If the run ends with the best evaluation's weights, their step is saved
 * too, and that checkpoint stays.
 */
export async function* trainLoop<Batch>(
  model: Model,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainerOptions,
  store?: CheckpointStore,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const started = performance.now();
  const { signal, record } = options;
  needRoomForBatches(options.gradientAccumulationSteps, options);
  const step = await TrainStep.create(model, stage, options, {
    beta1: options.adamBeta1,
    beta2: options.adamBeta2,
    eps: options.adamEpsilon,
    weightDecay: options.weightDecay,
    maxGradNorm: options.maxGradNorm,
    muon: options.muon,
    groups: options.groups,
    names: options.names,
    world: options.world,
    sharding: options.sharding,
    replay: options.replay,
    microBatches: options.gradientAccumulationSteps,
    evaluatesWhole: source.prefetch === false, // its evaluations generate answers, which needs whole weights
    wholeAtTimes: source.prefetch === false || options.evaluate !== undefined,
    seed: options.seed,
  });
  const writes = (options.world?.rank ?? 0) === 0;
  let done = 0;
  let tokensSeen = 0;
  let loss = Number.NaN;
  let held: EvalEvent | undefined;
  let [saved, evaluated] = [-1, 0];
  const world = options.world ?? soloWorld;
  const slow = new SlowRanks(world.size);
  const weights = () => new Map(step.optimizer.names.map((name) => [name, model.weight(name)]));
  const best = Best.of(options, weights, options.warn ?? emitWarning);
  const meter = new Meter(stage);
  const watch = new LossSpikeGuard(options, options.warn ?? emitWarning);
  const evaluates = source.evaluation !== undefined || options.evaluate !== undefined;
  const { replay } = options;
  const positions = () => ({ data: source.state(), ...(replay && { replay: replay.source.state() }) });
  let position = positions();
  const state = (): TrainerState => ({
    version: 1,
    stage: stage.name,
    step: done,
    optimizerSteps: step.optimizer.steps,
    tokensSeen,
    loss: Number.isFinite(loss) ? loss : null,
    evaluated,
    ...(best?.state && { best: best.state }),
    ...record,
    ...(meter.state && { meter: meter.state }),
    watch: watch.state,
    ...position,
  });
  const at = () => ({ step: done, maxSteps: options.maxSteps });
  const save = async (how?: { keepOlder: boolean }) => {
    const isDue = writes && store !== undefined && saved !== done;
    // All ranks must know whether rank 0 saves, because it needs their parts of a shared state.
    if (step.shared ? (await world.sum([Number(isDue)]))[0] === 0 : !isDue) return;
    const { shared, weights } = step;
    if (shared && weights)
      await weights.writing(shared, ({ state: optimizer, weight }) =>
        store!.save(done, optimizer, state(), { ...how, weight }),
      );
    else if (writes) await store!.save(done, step.stateData(), state(), how);
    else await shared?.sendState();
    saved = done;
  };
  try {
    const how = { best: best?.loads ?? false, writes, record, signal };
    const found = await store?.restore(step.optimizer, stage.name, how);
    const resumed = found?.state;
    if (resumed) {
      ({ step: done, tokensSeen } = resumed);
      loss = resumed.loss ?? Number.NaN;
      if (found!.own) saved = done;
      evaluated = resumed.evaluated ?? done;
      if (best?.resume(resumed.best))
        (options.warn ?? emitWarning)(
          "metricForBestModel: the run was resumed with another metric or direction; the best of the following evaluations is kept",
        );
      if (resumed.meter) meter.restore(resumed.meter);
      if (resumed.watch) watch.restore(resumed.watch);
      step.optimizer.steps = resumed.optimizerSteps;
      source.restore(resumed.data);
      replay?.source.restore(resumed.replay);
      // Check the options after the data, whose error messages are more specific.
      const changed =
        record?.options &&
        checkSameOptions(resumed.options, record.options, { allowed: options.allowChangedOptions ?? false });
      if (changed) (options.warn ?? emitWarning)(changed);
      position = positions();
    }
    // This waits for all ranks, so all have found their checkpoint before rank 0 changes the folder.
    await needSameStart(world, { step: done, checkpoint: found?.digest, record, sharding: options.sharding ?? "none" });
    if (writes) await store?.begin();
    options.begins?.(done);
    if (found) {
      await found.load();
      model.weightsChanged();
    }
    await step.weights?.divide();
    const whole = step.whole.bind(step);
    const next = () =>
      fetch(options.gradientAccumulationSteps, world, wholeFor(source, whole), replay?.source, positions, signal);
    const { prefetch = true } = source;
    // Results of `finish` for the final weights, which become part of the final evaluation.
    let finished: Metrics | undefined;
    const heldOut = async function* (): AsyncGenerator<EvalEvent, EvalEvent, void> {
      // Ranks on different processors may generate different numbers of batches, so ranks agree on a stop only between
      // batches of fixed data.
      const agree = prefetch ? () => stopIfAgreed(world, signal) : async () => {};
      const measure = () => measureHeldOut(step, stage, source, signal, agree);
      const measured = await (prefetch ? measure() : whole(measure));
      const own =
        options.evaluate && (await whole(() => fromFirst(world, () => options.evaluate!({ step: done, signal }))));
      if (done === options.maxSteps && !best?.loads) finished = options.finish && (await whole(options.finish));
      // Ranks on different processors measure values that differ by rounding. All must agree on the best step, and on when to stop early.
      const { evalLoss } = measured;
      const { tokens, ...loss } = await numbersOfFirst(world, {
        tokens: measured.tokens,
        ...(evalLoss !== undefined && { evalLoss }),
      });
      const metrics = await numbersOfFirst(world, { ...measured.metrics, ...own, ...finished });
      const event = { ...at(), ...loss, tokens: tokens!, ...someOf(metrics) };
      evaluated = done;
      const nothing = source.evaluation !== undefined && tokens === 0;
      const isBest = best?.add(event, { nothing }) && best.loads;
      if (isBest && step.weights) {
        // All ranks must know whether one of them copies the weights.
        if ((await world.sum([Number(!store)]))[0]! > 0) await whole(async () => (store ? undefined : best?.copy()));
      } else if (isBest && !store) await best?.copy();
      yield event;
      // Save only after the event was logged, because the log is flushed before a checkpoint, and a resumed run does
      // not repeat this evaluation.
      if (isBest) await save();
      return event;
    };
    const isDue = () =>
      evaluates && (done === options.maxSteps || (options.evalSteps !== undefined && done % options.evalSteps === 0));
    if (resumed && done > evaluated && isDue()) {
      // The run was stopped between the step and its evaluation.
      held = yield* heldOut();
    }
    const goesOn = () => done < options.maxSteps && !best?.exhausted;
    let upcoming = prefetch && goesOn() ? next() : undefined;
    while (goesOn()) {
      model.assertLive();
      await stopIfAgreed(world, signal);
      const { batches, replayed, after } = await (upcoming ?? next());
      // The next batches are read and encoded while this step computes.
      if (prefetch && done + 1 < options.maxSteps) upcoming = next();
      const learningRate = options.learningRateAt(done + 1);
      const accumulated = await step.accumulate(batches, signal, replayed);
      const whole = accumulated.loss + (accumulated.metrics.replayLoss ?? 0);
      let gradNorm = Number.NaN;
      if (!watch.shouldSkip(done + 1, accumulated.loss, whole)) {
        gradNorm = await step.update(learningRate);
        if (Number.isFinite(gradNorm)) watch.recordUpdate(accumulated.loss);
        else watch.recordSkip(done + 1, gradNorm, whole); // the weights are unchanged
      }
      done += 1;
      position = after;
      tokensSeen += accumulated.tokens;
      loss = accumulated.loss;
      meter.add(accumulated);
      const late = slow.add(accumulated.rankSeconds);
      if (late !== undefined) (options.warn ?? emitWarning)(late);
      if (done % options.loggingSteps === 0 || done === options.maxSteps)
        yield { ...at(), ...meter.take(), learningRate, gradNorm, tokensSeen, ...watch.counts };
      if (isDue()) {
        held = yield* heldOut();
        meter.restart();
      }
      if (options.saveSteps && done % options.saveSteps === 0) {
        await save();
        meter.restart();
      }
    }
    await save();
    if (evaluates && held === undefined && !(best?.loads && best.held)) {
      // Resumed after the last step. The finished model's card still needs its held-out loss.
      held = yield* heldOut();
    }
    await step.end();
    if (best?.loads) {
      await world.barrier(); // wait until rank 0 has written the file that all read
      held = (await best.restore(store)) ?? held;
      model.weightsChanged();
    }
    finished ??= await options.finish?.();
    if (held) held = { ...held, ...someOf({ ...held.metrics, ...finished }) };
    const path = writes ? await store?.finish(state(), held) : undefined;
    const seconds = (performance.now() - started) / 1000;
    const evalMetrics = held ? held.metrics : finished;
    return {
      steps: done,
      tokensSeen,
      loss,
      ...watch.counts,
      ...(held?.evalLoss !== undefined && { evalLoss: held.evalLoss }),
      ...(evalMetrics && { evalMetrics }),
      ...(best?.loads && best.held && { bestStep: best.held.step }),
      seconds,
      path,
    };
  } catch (error) {
    if (signal?.aborted && done > 0) await save();
    // A failure to make the weights whole must not replace the abort's error.
    if (signal?.aborted) await step.end().catch(() => undefined);
    // A rank that fails alone does not have the others' parts of a shared state.
    else if (done > 0 && !step.shared && (await step.isFinite()))
      await save({ keepOlder: true }).catch(() => undefined); // `error` is thrown below
    throw error;
  } finally {
    await step.weights?.abandon(); // no effect on whole weights
    step.dispose();
  }
}
