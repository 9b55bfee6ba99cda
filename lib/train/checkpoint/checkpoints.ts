import { access, constants } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { ADAPTER_WEIGHTS_FILE } from "../../formats/adapter-config.ts";
import {
  type CheckpointInfo,
  copyCheckpoint,
  latestIntact,
  listCheckpoints,
  readCheckpointState,
  saveCheckpoint,
} from "../../formats/checkpoint/checkpoint.ts";
import { findDamage, needIntact, type Reading, readManifest } from "../../formats/checkpoint/checkpoint-manifest.ts";
import { digestOfText } from "../../formats/digest.ts";
import { MODEL_CARD_FILE, type ModelCardInput, parseModelCard } from "../../formats/model-card.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import { openWeights, type StoredTensor } from "../../formats/weights.ts";
import { byteLength } from "../../graph/dtype.ts";
import { type Device, type FloatDType, openDevice, type Tensor } from "../../graph/index.ts";
import { exists, ioError, makeFolder } from "../../io/atomic-files.ts";
import { claim } from "../../io/claim.ts";
import { writeTogether } from "../../io/staged-files.ts";
import type { Optimizer, StateTensor } from "../../optim/optimizer.ts";
import type { EvalEvent, TrainerState } from "../loop/trainer.ts";
import { needSameGroups } from "../options/parameter-groups.ts";
import { RunLog } from "../tracking/run-log.ts";
import { clearRun, isInFolder, needUsable } from "./output-folder.ts";
import { needSameFrozen, type RunRecord } from "./run-record.ts";
import type { TrainedFiles } from "./trained-files.ts";

interface CheckpointStoreOptions {
  outputDir: string;
  saveTotalLimit?: number | undefined;
  /**
   * Whether checkpoints are saved although the caller did not ask for them. Without a saveTotalLimit, each checkpoint
   * is removed when the run's next checkpoint is complete. Default false.
   */
  unasked?: boolean | undefined;
  saveDtype: FloatDType;
  resume: boolean | string;
  overwriteOutputDir: boolean;
  /** File layout of the trained weights. */
  trained: TrainedFiles;
  /** Builds the model card for this state. */
  card(state: TrainerState, held: EvalEvent | undefined): ModelCardInput;
  /** The tokenizer's files by name. */
  tokenizerFiles: Readonly<Record<string, string>>;
  /** Receives warnings, in the process that writes the folder. */
  warn(message: string): void;
}

/**
 * Stores a run's checkpoints in `outputDir/checkpoint-<step>`, and the finished model in `outputDir` itself. A checkpoint holds f32
 * weights, moments, counters and the data position. Each checkpoint is a folder that can be loaded as a model or an adapter.
 */
export class CheckpointStore {
  private readonly options: CheckpointStoreOptions;
  /**
   * Steps of the checkpoints that the next checkpoint replaces: those of this run, and the one that it resumed from if
   * that was replaceable too.
   */
  private readonly replaceable: Set<number> | undefined;
  /** Log of the run, in the same folder as its checkpoints. */
  readonly log: RunLog;
  constructor(options: CheckpointStoreOptions) {
    this.options = options;
    this.log = new RunLog(options.outputDir);
    if (options.unasked && options.saveTotalLimit === undefined) this.replaceable = new Set();
  }

  /**
   * Claims the folder for this run, before anything is computed that could then not be saved.
   * @returns a function that releases the claim
   * @throws HeddleError INVALID_ARGUMENT if another run is writing the folder, or has written it and may not be
   * overwritten; IO if the folder is not writable
   */
  async open(): Promise<() => void> {
    const { outputDir } = this.options;
    if (outputDir === "") throw new HeddleError("INVALID_ARGUMENT", "outputDir: expected a folder, got an empty path");
    await makeFolder(outputDir);
    const release = await claim(outputDir, "outputDir");
    try {
      await access(outputDir, constants.W_OK);
    } catch (error) {
      release();
      throw ioError(error, outputDir, "written");
    }
    await needUsable(this.options).catch((error: unknown) => {
      release();
      throw error;
    });
    return release;
  }

  /**
   * Removes the files of an overwritten run. Called in the process that writes the folder, after all checks of the run.
   * @throws HeddleError IO
   */
  async begin(): Promise<void> {
    const { outputDir, overwriteOutputDir, trained } = this.options;
    if (overwriteOutputDir) await clearRun(outputDir, trained.file);
  }

  /**
   * Saves a checkpoint.
   * @param optimizerState the optimizer's state, of all ranks
   * @param how.keepOlder for a run that ends with an error: keeps all checkpoints regardless of the limit, and ignores
   * a log that cannot be written
   * @param how.weight replaces the data of a trained tensor. Default: it is read from the tensor
   */
  async save(
    step: number,
    optimizerState: TensorData[],
    state: TrainerState,
    {
      keepOlder = false,
      weight = (data) => data,
    }: { keepOlder?: boolean; weight?: (data: TensorData, tensor: Tensor | undefined) => TensorData } = {},
  ): Promise<void> {
    const { outputDir, trained } = this.options;
    await this.log.flush().catch((error: unknown) => {
      if (!keepOlder) throw error;
    });
    const tensors = trained.tensors();
    const limit = keepOlder ? undefined : this.replaceable ? 1 : this.options.saveTotalLimit;
    await saveCheckpoint(
      outputDir,
      step,
      {
        tensors: {
          [trained.file]: trained.data("f32").map((data) => weight(data, tensors.get(data.name))),
          "optimizer.safetensors": optimizerState,
        },
        state: { ...state, ...(this.replaceable && { replaceable: true }) },
        files: this.files(state, "f32", undefined),
        device: this.device,
      },
      {
        ...(limit !== undefined && { saveTotalLimit: limit, keep: state.best?.held?.step, among: this.replaceable }),
        warn: this.options.warn,
      },
    );
    this.replaceable?.add(step);
  }

  /** The device whose threads compute digests. */
  private get device(): Device | undefined {
    for (const { device } of this.options.trained.tensors().values()) return device;
    return undefined;
  }

  private reading(signal?: AbortSignal): Reading {
    return { device: this.device ?? openDevice({ device: "cpu" }), signal };
  }

  /**
   * Finds the checkpoint to resume from, if any, and checks that it fits the run. Verifies the digests of all its
   * files.
   * @param how.best whether the run ends with the best evaluation's weights. Their checkpoint is copied if it is in
   * another folder. If it is missing or damaged, the best evaluation is dropped with a warning.
   * @param how.writes whether this process writes the folder
   * @param how.record facts about the run that must be the same as at its start
   * @returns its state, a digest of its files, and whether it is in this run's folder. `load` reads it into the trained
   * weights and the optimizer. Nothing is overwritten before `load` is called.
   */
  async restore(
    optimizer: Optimizer,
    stage: string,
    {
      best,
      writes,
      record,
      signal,
    }: { best: boolean; writes: boolean; record?: RunRecord | undefined; signal?: AbortSignal | undefined },
  ): Promise<{ state: TrainerState; digest: string; own: boolean; load(): Promise<void> } | undefined> {
    const found = await this.find(signal);
    if (!found) return undefined;
    const state = (await readCheckpointState(found.path)) as TrainerState;
    if (state?.version !== 1)
      throw new HeddleError(
        "INVALID_FILE",
        `${found.path}: expected a checkpoint of version 1, got ${describe(state?.version)}`,
      );
    if (state.stage !== stage)
      throw new HeddleError(
        "INVALID_FILE",
        `${found.path}: expected a checkpoint of ${stage}, got one of ${state.stage}`,
      );
    // An invalid count would become the exponent of the optimizer's bias correction, and make all weights NaN.
    for (const name of ["step", "optimizerSteps", "tokensSeen"] as const)
      if (!isWhole(state[name]))
        throw new HeddleError(
          "INVALID_FILE",
          `${found.path}: ${name}: expected a whole number, got ${describe(state[name])}`,
        );
    needSameGroups(state.parameterGroups, record?.parameterGroups);
    const { trained } = this.options;
    await needKind(found.path, trained.file);
    await trained.needSame?.(found.path);
    needSameFrozen(state.frozenWeights, record?.frozenWeights);
    const files = [
      { path: join(found.path, trained.file), tensors: targets(trained.tensors()), whole: false },
      { path: join(found.path, "optimizer.safetensors"), tensors: optimizer.state, whole: true },
    ];
    for (const file of files) await eachStored(file, () => undefined);
    const load = async () => {
      for (const { path, tensors } of files) await readInto(path, tensors);
    };
    const own = await isInFolder(found.path, this.options.outputDir);
    if (own && state.replaceable) this.replaceable?.add(state.step);
    const digest = digestOfText(JSON.stringify([await readManifest(found.path), state]));
    if (!best || !state.best?.held) return { state, digest, own, load };
    const { step } = state.best.held;
    const path = step === state.step ? found.path : await checkpointOf(dirname(found.path), step);
    const damage = path !== undefined && path !== found.path && (await findDamage(path, this.reading(signal)));
    if (path === undefined || damage) {
      const what = damage ? `is damaged (${damage})` : `is missing next to ${found.path}`;
      const message = `loadBestModelAtEnd: checkpoint-${step}, the best evaluation's, ${what}; the best of the following evaluations is kept instead`;
      this.options.warn(message);
      const { best: _, ...rest } = state;
      return { state: rest, digest, own, load };
    }
    const copyAndLoad = async () => {
      if (!own && writes) await copyCheckpoint(path, this.options.outputDir, step);
      await load();
    };
    return { state, digest, own, load: copyAndLoad };
  }

  /** Loads the weights of this run's checkpoint of a step. @throws HeddleError NOT_FOUND, INVALID_FILE if they are damaged */
  async restoreWeights(step: number): Promise<void> {
    const { outputDir, trained } = this.options;
    const path = await checkpointOf(outputDir, step);
    if (path === undefined)
      throw new HeddleError(
        "NOT_FOUND",
        `loadBestModelAtEnd: expected the best evaluation's checkpoint-${step} in ${outputDir}, got none`,
      );
    await needIntact(path, this.reading(), [trained.file]);
    await readInto(join(path, trained.file), targets(trained.tensors()));
  }

  /** Finds the checkpoint to resume from. Warns about damaged checkpoints that it skips. */
  private async find(signal: AbortSignal | undefined): Promise<Pick<CheckpointInfo, "path"> | undefined> {
    const { resume, outputDir } = this.options;
    if (resume === false) return undefined;
    if (typeof resume === "string" && resume !== "auto") {
      await needIntact(resume, this.reading(signal));
      return { path: resume };
    }
    const { latest, passed } = await latestIntact(outputDir, this.reading(signal));
    const problems = passed.map(({ path, why }) => `${path} (${why})`).join(", ");
    if (!latest && passed.length > 0)
      throw new HeddleError(
        "INVALID_FILE",
        `resume: expected a complete checkpoint in ${outputDir}, got ${problems}; without resume a new run begins`,
      );
    if (!latest && resume === true)
      throw new HeddleError("NOT_FOUND", `resume: expected a checkpoint in ${outputDir}, got none`);
    if (problems)
      this.options.warn(`resume: continuing from ${latest!.path}, because a later checkpoint is broken: ${problems}`);
    return latest;
  }

  /** Writes the finished model, or adapter, into outputDir. @returns the folder */
  async finish(state: TrainerState, held: EvalEvent | undefined): Promise<string> {
    const { outputDir, saveDtype, trained } = this.options;
    const configuration = trained.configuration(saveDtype);
    const others = Object.entries(this.files(state, saveDtype, held)).filter(([name]) => !(name in configuration));
    await writeTogether(async (files) => {
      await trained.save(outputDir, saveDtype, files);
      for (const [name, text] of others) await files.writeText(join(outputDir, name), text);
      await trained.replace(outputDir, files);
      // Files that readers open first are written last.
      for (const [name, text] of Object.entries(configuration)) await files.writeText(join(outputDir, name), text);
    });
    return outputDir;
  }

  private files(state: TrainerState, dtype: FloatDType, held: EvalEvent | undefined): Record<string, string> {
    const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
    const { trained, card, tokenizerFiles } = this.options;
    return {
      ...trained.configuration(dtype),
      [MODEL_CARD_FILE]: json(parseModelCard(card(state, held))),
      ...tokenizerFiles,
    };
  }
}

/** Returns the complete checkpoint of a step, if any. */
async function checkpointOf(folder: string, step: number): Promise<string | undefined> {
  return (await listCheckpoints(folder)).find((one) => one.step === step)?.path;
}

/**
 * Checks that a resumed run trains the same kind of weights as before: an adapter's, or the model's.
 * @throws HeddleError INVALID_ARGUMENT
 */
async function needKind(checkpoint: string, file: string): Promise<void> {
  if (await exists(join(checkpoint, file))) return;
  const isAdapter = await exists(join(checkpoint, ADAPTER_WEIGHTS_FILE));
  if (!isAdapter && file !== ADAPTER_WEIGHTS_FILE) return; // eachStored reports the missing file
  const [expected, got] = isAdapter ? ["options", "none"] : ["none", "options"];
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `lora: expected ${expected}, as in the resumed run (${checkpoint}), got ${got}`,
  );
}

/** Describes tensors that are not sharded. */
function targets(tensors: ReadonlyMap<string, Tensor>): Map<string, StateTensor> {
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, own: { tensor, start: 0 } }]));
}

/** Overwrites f32 tensors with those of the same names in a file. */
function readInto(path: string, tensors: ReadonlyMap<string, StateTensor>): Promise<void> {
  return eachStored({ path, tensors }, async ({ own }, { file, offset }) => {
    if (!own) return;
    const { tensor, start } = own;
    const size = Float32Array.BYTES_PER_ELEMENT;
    await tensor.writeOwn(new Float32Array(file.bytes(offset + start * size, tensor.bytes)));
  });
}

/**
 * Calls `take` with each f32 tensor and the file's tensor of the same name, which must have the same size.
 * @param of.whole whether the file must have no other tensors, because a run that trains fewer parameters would
 * silently drop them
 */
async function eachStored(
  { path, tensors, whole = false }: { path: string; tensors: ReadonlyMap<string, StateTensor>; whole?: boolean },
  take: (tensor: StateTensor, stored: StoredTensor) => Promise<void> | void,
): Promise<void> {
  const source = await openWeights(path);
  try {
    const left = whole ? source.names().filter((name) => !tensors.has(name)) : [];
    if (left.length > 0)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `resume: expected the checkpoint's trainable parameters and optimizer, got others (${path}): this run has no ${left[0]}`,
      );
    for (const [name, target] of tensors) {
      const stored = source.tensor(name);
      const bytes = byteLength("f32", target.shape);
      if (stored.dtype !== "f32" || stored.bytes !== bytes)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}: ${name}: expected ${bytes} bytes of F32, got ${stored.bytes} of ${stored.storedDtype}`,
        );
      await take(target, stored);
    }
  } finally {
    source.close();
  }
}
