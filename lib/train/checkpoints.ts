import { join } from "node:path";
import { HeddleError } from "../errors.ts";
import { type CheckpointInfo, latestCheckpoint, readCheckpointState, saveCheckpoint } from "../formats/checkpoint.ts";
import { modelConfigToJson } from "../formats/config-json.ts";
import { writeFileAtomically } from "../formats/io.ts";
import { MODEL_CARD_FILE, type ModelCardInput, parseModelCard } from "../formats/model-card.ts";
import { saveWeights } from "../formats/safetensors-write.ts";
import { openWeights } from "../formats/weights.ts";
import type { FloatDType, Tensor } from "../graph/index.ts";
import { tensorData, weightData } from "../models/export.ts";
import type { Model } from "../models/model.ts";
import type { AdamW } from "../optim/adamw.ts";
import type { EvalEvent, TrainerState } from "./trainer.ts";

export interface CheckpointStoreOptions {
  outputDir: string;
  saveTotalLimit?: number | undefined;
  saveDtype: FloatDType;
  resume: boolean | string;
  /** The card of a model at this state. */
  card(state: TrainerState, held: EvalEvent | undefined): ModelCardInput;
  /** The tokenizer's files by name. */
  tokenizerFiles: Readonly<Record<string, string>>;
}

/**
 * A run's checkpoints in `outputDir/checkpoint-<step>`: f32 weights, moments, counters and the data position, each a
 * model folder that can be loaded; and the finished model in `outputDir` itself.
 */
export class CheckpointStore {
  private readonly options: CheckpointStoreOptions;
  constructor(options: CheckpointStoreOptions) {
    this.options = options;
  }

  async save(step: number, model: Model, optimizer: AdamW, state: TrainerState): Promise<void> {
    const { outputDir, saveTotalLimit } = this.options;
    await saveCheckpoint(
      outputDir,
      step,
      {
        tensors: {
          "model.safetensors": weightData(model, "f32"),
          "optimizer.safetensors": [...optimizer.moments].map(([name, t]) => tensorData(name, t, "f32")),
        },
        state,
        files: this.files(model, state, "f32", undefined),
      },
      saveTotalLimit === undefined ? {} : { saveTotalLimit },
    );
  }

  /** Loads the checkpoint to continue from, if any, into the model and the optimizer. */
  async restore(model: Model, optimizer: AdamW, stage: string): Promise<TrainerState | undefined> {
    const found = await this.find();
    if (!found) return undefined;
    const state = (await readCheckpointState(found.path)) as TrainerState;
    if (state?.version !== 1 || state.stage !== stage)
      throw new HeddleError(
        "INVALID_FILE",
        `${found.path}: expected a checkpoint of ${stage}, got one of ${state?.stage}`,
      );
    await readInto(join(found.path, "model.safetensors"), new Map(optimizer.names.map((n) => [n, model.weight(n)])));
    await readInto(join(found.path, "optimizer.safetensors"), optimizer.moments);
    return state;
  }

  private async find(): Promise<CheckpointInfo | undefined> {
    const { resume, outputDir } = this.options;
    if (resume === false) return undefined;
    if (typeof resume === "string" && resume !== "auto") return { path: resume, step: Number.NaN };
    const latest = await latestCheckpoint(outputDir);
    if (!latest && resume === true)
      throw new HeddleError("NOT_FOUND", `resume: expected a checkpoint in ${outputDir}, got none`);
    return latest;
  }

  /** Writes the finished model into outputDir. @returns the folder */
  async finish(model: Model, state: TrainerState, held: EvalEvent | undefined): Promise<string> {
    const { outputDir, saveDtype } = this.options;
    for (const [name, text] of Object.entries(this.files(model, state, saveDtype, held)))
      await writeFileAtomically(join(outputDir, name), (sink) => sink.write(Buffer.from(text)));
    await saveWeights(outputDir, weightData(model, saveDtype));
    return outputDir;
  }

  private files(
    model: Model,
    state: TrainerState,
    dtype: FloatDType,
    held: EvalEvent | undefined,
  ): Record<string, string> {
    const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
    return {
      "config.json": json(modelConfigToJson({ ...model.config, dtype })),
      [MODEL_CARD_FILE]: json(parseModelCard(this.options.card(state, held))),
      ...this.options.tokenizerFiles,
    };
  }
}

/** Overwrites f32 tensors with those of the same names in a file. */
async function readInto(path: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  const source = await openWeights(path);
  try {
    for (const [name, tensor] of tensors) {
      const stored = source.tensor(name);
      if (stored.dtype !== "f32" || stored.bytes !== tensor.bytes)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}: ${name}: expected ${tensor.bytes} bytes of F32, got ${stored.bytes} of ${stored.storedDtype}`,
        );
      await tensor.write(new Float32Array(stored.file.bytes(stored.offset, stored.bytes)));
    }
  } finally {
    source.close();
  }
}
