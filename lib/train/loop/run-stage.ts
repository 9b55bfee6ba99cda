import { resolve } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import type { CorpusTokenizer } from "../../data/encode.ts";
import { type ModelCard, parseModelCard } from "../../formats/model-card.ts";
import { type Adapter, adapterTensors } from "../../models/adapters/adapters.ts";
import { linearLayers } from "../../models/adapters/linear-layers.ts";
import { headNames } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import { claimWeights } from "../../models/model-claims.ts";
import type { MuonOptions } from "../../optim/muon.ts";
import { learningRateSchedule } from "../../optim/schedule.ts";
import { CheckpointStore } from "../checkpoint/checkpoints.ts";
import { needApart } from "../checkpoint/output-folder.ts";
import { frozenFingerprint } from "../checkpoint/run-record.ts";
import { adapterFiles, modelFiles, type TrainedFiles } from "../checkpoint/trained-files.ts";
import type { Shape } from "../options/option.ts";
import { groupParameters, optimizerGroups } from "../options/parameter-groups.ts";
import type { TrainingOptions } from "../options/parse-options.ts";
import { recordedOptions } from "../options/run-options.ts";
import { DEFAULT_SAVE_STEPS, type EvaluateAt } from "../options/shared-options.ts";
import { shardingWorld } from "../sharding/sharding.ts";
import { trackedRun, trackersOf } from "../tracking/trackers-of.ts";
import { Tracking } from "../tracking/tracking.ts";
import type { World } from "../world/world.ts";
import { adapterThere, settleAdapters } from "./base-adapters.ts";
import { type Preparation, preparing } from "./model-rollback.ts";
import { needRoomForRows } from "./needed-memory.ts";
import { type OpenReplay, openReplay } from "./replay.ts";
import { needPossible } from "./run-checks.ts";
import type { Stage } from "./stage.ts";
import { cardOf, type StageCard } from "./stage-card.ts";
import {
  type BatchSource,
  type EvalEvent,
  type TrainEvent,
  type TrainerOptions,
  type TrainerState,
  type TrainResult,
  trainLoop,
} from "./trainer.ts";
import { emitWarning } from "./warn.ts";

/** A trainable model with its tokenizer. `LanguageModel` implements it. */
export interface Trainable {
  /** The network to train. */
  readonly model: Model;
  /** The tokenizer, which is saved with the weights. */
  readonly tokenizer?:
    | (CorpusTokenizer & {
        /** Files to save with the weights: their texts by name, such as `tokenizer.json`. */
        files(): Readonly<Record<string, string>>;
      })
    | undefined;
  /** The model card, replaced when a stage finishes. */
  card?: ModelCard | undefined;
  /**
   * Path of the weights, which an adapter stores as its base. A stage that trains these weights sets the path to its
   * outputDir, or clears it without an outputDir.
   */
  path?: string | undefined;
  /**
   * Name of the model in the shared cache, from which other machines can load it too. An adapter stores the name
   * instead of the path.
   */
  readonly name?: string | undefined;
}

type RunEvents = AsyncGenerator<TrainEvent, TrainResult, void>;

/** Stage-specific additions to the common options. */
export interface StageSetup {
  /** What the model card says about the stage. */
  card: StageCard;
  /** Stops the run after the running step. */
  signal?: AbortSignal | undefined;
  /**
   * Names of the trained weights; all others stay unchanged bit for bit. Default: all. With `options.lora`: the weights
   * that are trained in addition to the adapter, by default none.
   */
  names?: readonly string[] | undefined;
  /** Number of sequences in a micro-batch. Default: perDeviceTrainBatchSize. A pair, for instance, is two sequences. */
  sequences?: number | undefined;
  /** Number of positions of a sequence. Default: maxSeqLength, or the model's context, at most 1024. */
  sequenceLength?: number | undefined;
  /** The processes that train together. Default: only this process. @experimental */
  world?: World | undefined;
  /** Receives warnings. Default: process.emitWarning. */
  warn?: ((message: string) => void) | undefined;
  /** Records the stage's changes to the model. Default: the stage has not changed it. @internal */
  preparation?: Preparation | undefined;
  /** The schema of the stage's options, which determines what a checkpoint records. Default: none. @internal */
  shape?: Shape | undefined;
  /** Adds to the run's events, before they are logged. @internal */
  follow?: ((events: RunEvents) => RunEvents) | undefined;
  /** As in TrainerOptions. */
  finish?: TrainerOptions["finish"];
}

/**
 * Returns the number of positions of a sequence: maxSeqLength, or by default the model's context, at most 1024.
 * @throws HeddleError INVALID_ARGUMENT if maxSeqLength exceeds the context
 */
export function sequenceLengthOf(model: Model, { maxSeqLength }: { maxSeqLength?: number | undefined }): number {
  const context = model.config.maxPositionEmbeddings;
  const length = maxSeqLength ?? Math.min(context, 1024);
  if (length > context)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `maxSeqLength: expected at most the model's ${context} positions, got ${length}`,
    );
  return length;
}

/** Returns the tokenizer of the model to train. @throws HeddleError INVALID_ARGUMENT if it has none */
export function tokenizerOf<T extends Trainable>(base: T, stage: string): NonNullable<T["tokenizer"]> {
  if (typeof base !== "object" || base === null)
    throw new HeddleError("INVALID_ARGUMENT", `${stage}: expected a model, got ${describe(base)}`);
  if (!base.tokenizer)
    throw new HeddleError("INVALID_ARGUMENT", `${stage}: expected a model with a tokenizer, got one without`);
  return base.tokenizer;
}

/**
 * Runs a stage from its options to the finished model: resume, steps, logs, held-out evaluation, checkpoints, model card. A stage's file
 * only has to define its schema, its rows and its loss. Disposes of `source` in the end. If the stage is rejected before its first step,
 * the model is restored.
 *
 * @throws HeddleError INVALID_ARGUMENT, NUMERICAL for a loss that is not finite, ABORTED after `setup.signal` fired (the last completed
 *   step is saved first), IO (saved files stay)
 */
export async function* runStage<Batch>(
  base: Trainable,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainingOptions,
  setup: StageSetup,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  return yield* preparing(base, (own) =>
    prepared(base, stage, source, options, { ...setup, preparation: setup.preparation ?? own }),
  );
}

async function* prepared<Batch>(
  base: Trainable,
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: TrainingOptions,
  setup: StageSetup & { preparation: Preparation },
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const { model } = base;
  const writes = (setup.world?.rank ?? 0) === 0;
  const warn = writes ? (setup.warn ?? emitWarning) : () => undefined; // once, not on every rank
  let replay: OpenReplay | undefined;
  const claims: (() => void)[] = [];
  try {
    needPossible(source, options);
    shardingWorld(options.sharding, setup.world);
    const shape = {
      sequences: setup.sequences ?? options.perDeviceTrainBatchSize,
      sequenceLength: setup.sequenceLength ?? sequenceLengthOf(model, options),
    };
    needRoomForRows(model, { ...options, ...shape });
    if (options.replay) {
      const length = sequenceLengthOf(model, options.replay.maxSeqLength === undefined ? options : options.replay);
      const tokenizer = tokenizerOf(base, stage.name);
      replay = await openReplay(options.replay, tokenizer, length, options, setup.signal);
    }
    const parent = base.card;
    const measured = new Set<string>(); // names of the metrics of `evaluate`
    const evaluate =
      options.evaluate &&
      (async (at: Omit<EvaluateAt<Trainable>, "model">) => {
        const metrics = await options.evaluate!({ ...at, model: base });
        for (const name of Object.keys(metrics ?? {})) measured.add(name);
        return metrics;
      });
    const card = (state: Pick<TrainerState, "tokensSeen">, held: Pick<EvalEvent, "evalLoss" | "metrics"> | undefined) =>
      cardOf(parent, stage.name, setup.card, options, state, held, measured);
    const { adapter, names: all } = await trainedNames(model, options, setup);
    const grouped = groupParameters(options.parameterGroups, all, model.weightNames);
    const names = grouped.trained;
    const trained = adapter
      ? adapterFiles(model, adapter, setup.names ?? [], base.name ?? base.path)
      : modelFiles(model, names);
    const store = storeOf(base, options, trained, card, warn);
    if (adapter && base.path !== undefined && options.outputDir !== undefined)
      await needApart(options.outputDir, base.path);
    // Check here everything that would otherwise fail in the middle of the run or at its end.
    claims.push(claimWeights(model, names, "training"));
    parseModelCard(card({ tokensSeen: 0 }, undefined));
    if (store && writes) claims.push(await store.open());
    const tracking = new Tracking(writes ? trackersOf(options, warn) : [], warn);
    warnOfUnusedOptions(source, options, warn);
    await needHeldOut(stage, source, options, setup.signal);
    const heads = headNames(model.config);
    const trainsBase = names.some((name) => !heads.includes(name));
    const changesBase = !adapter && (trainsBase || model.activeAdapters.length > 0); // active adapters are merged into the base
    const muon = muonOf(model, options, names);
    await setup.preparation.change(async () => {
      await settleAdapters(model, options);
      await model.prepareForTraining(names);
    });
    const events = trainLoop(
      model,
      stage,
      source,
      {
        ...options,
        ...shape,
        learningRateAt: learningRateSchedule(options),
        names,
        saveSteps: options.saveSteps ?? DEFAULT_SAVE_STEPS,
        muon,
        groups: optimizerGroups(grouped, options, muon),
        record: {
          parameterGroups: grouped.record,
          options: recordedOptions(options, setup.shape ?? {}, setup.world?.size ?? 1),
          frozenWeights: store && (await frozenFingerprint(model, names)),
        },
        replay,
        world: setup.world,
        finish: setup.finish,
        evaluate,
        signal: setup.signal,
        warn,
        begins: (step) => {
          setup.preparation.forget();
          tracking.start(trackedRun(stage.name, model, options, step));
          if (changesBase) base.path = undefined;
        },
      },
      store,
    );
    const whole = setup.follow?.(events) ?? events;
    const logged = store && writes ? store.log.follow(whole) : whole;
    const result = yield* tracking.follow(logged, setup.signal);
    if (changesBase && options.outputDir !== undefined) base.path = resolve(options.outputDir);
    const { evalLoss, evalMetrics: metrics } = result;
    base.card = parseModelCard(card(result, evalLoss === undefined && !metrics ? undefined : { evalLoss, metrics }));
    return result;
  } finally {
    for (const release of claims) release();
    source.dispose();
    replay?.source.dispose();
  }
}

/** Warns about options that have no effect without an evaluation or a comparison. */
function warnOfUnusedOptions(
  source: Pick<BatchSource<unknown>, "evaluation">,
  options: TrainingOptions,
  warn: (message: string) => void,
): void {
  const { evaluate, evalSteps, metricForBestModel, loadBestModelAtEnd, earlyStoppingPatience } = options;
  if (evalSteps !== undefined && !source.evaluation && !evaluate)
    warn(
      "evalSteps: no evaluation takes place, because neither held-out data (evalData, evalFraction) nor evaluate is given",
    );
  if (metricForBestModel !== undefined && !loadBestModelAtEnd && earlyStoppingPatience === undefined)
    warn("metricForBestModel: it has no effect without loadBestModelAtEnd or earlyStoppingPatience");
}

/**
 * Throws if the held-out data has no token to predict. Does not check a source whose batches are expensive (generated answers).
 */
async function needHeldOut<Batch>(
  stage: Stage<Batch>,
  source: BatchSource<Batch>,
  options: object,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!source.evaluation || source.prefetch === false) return;
  for await (const batch of source.evaluation(signal)) if (stage.count(batch) > 0) return;
  // Name the option that was given, if the stage has both.
  const { evalData, evalFraction } = options as { evalData?: unknown; evalFraction?: number };
  const name = evalData === undefined && evalFraction ? "evalFraction" : "evalData";
  throw new HeddleError("INVALID_ARGUMENT", `${name}: expected at least one token to predict, got none`);
}

/**
 * Returns the weights that a stage would train if there were no parameter groups. With `lora`, these include the adapter's. The adapter is
 * added to the model if it is missing.
 */
async function trainedNames(
  model: Model,
  { lora, adapter: name = "default", seed }: TrainingOptions,
  { names, preparation }: StageSetup & { preparation: Preparation },
): Promise<{ adapter?: Adapter; names: readonly string[] }> {
  if (!lora) return { names: names ?? model.languageWeightNames };
  // An existing adapter is activated. If the change cannot be rolled back later, the adapter stays active.
  const there = await preparation.change(() => adapterThere(model, name, lora));
  const adapter =
    there ??
    (await preparation.change(
      () => model.addAdapter(name, lora, seed),
      () => model.removeAdapter(name),
    ));
  return { adapter, names: [...adapterTensors(adapter), ...(names ?? [])] };
}

/** Selects Muon's matrices: those of linear layers that are trained whole. @throws HeddleError INVALID_ARGUMENT without such a matrix */
function muonOf(model: Model, options: TrainingOptions, trained: readonly string[]): MuonOptions | undefined {
  if (options.optim !== "muon") return undefined;
  const layers = [...linearLayers(model)].map(([name, layer]) => ({ name: `${name}.weight`, ...layer }));
  const hidden = layers.filter(({ name }) => trained.includes(name));
  if (hidden.length === 0)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      "optim: expected adamw if no full matrix of a hidden layer is trained (only an adapter or a head), got muon",
    );
  return {
    names: new Set(hidden.map(({ name }) => name)),
    transposed: new Set(hidden.filter(({ transposed }) => transposed).map(({ name }) => name)),
    rateRatio: options.muonLearningRate / options.learningRate,
    momentum: options.muonMomentum,
    weightDecay: options.muonWeightDecay,
  };
}

function storeOf(
  base: Trainable,
  options: TrainingOptions,
  trained: TrainedFiles,
  card: (state: TrainerState, held: EvalEvent | undefined) => ReturnType<typeof cardOf>,
  warn: (message: string) => void,
): CheckpointStore | undefined {
  if (options.outputDir !== undefined)
    return new CheckpointStore({
      outputDir: options.outputDir,
      saveTotalLimit: options.saveTotalLimit,
      unasked: options.saveSteps === undefined,
      saveDtype: options.saveDtype ?? options.dtype,
      resume: options.resume,
      overwriteOutputDir: options.overwriteOutputDir,
      trained,
      card,
      tokenizerFiles: base.tokenizer?.files() ?? {},
      warn,
    });
  return undefined;
}

/**
 * Returns the number of rows of every sequence: the longest sequence's, rounded up to a multiple of eight, at most
 * `limit`.
 */
export function sequenceLengthFor(longest: number, limit: number): number {
  return Math.min(limit, Math.ceil(longest / 8) * 8);
}
