import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, readAdapterConfig } from "../../formats/adapter-config.ts";
import { type ModelConfig, parseModelConfig } from "../../formats/config/config.ts";
import { modelConfigToJson } from "../../formats/config/config-json.ts";
import { HEAD_CONFIG_FILE, headsToJson } from "../../formats/config/heads.ts";
import { unstackExperts } from "../../formats/experts.ts";
import { replaceAdapter, replaceModel } from "../../formats/folder-files.ts";
import { readModelConfig } from "../../formats/model-files.ts";
import { stageSafetensors } from "../../formats/safetensors/safetensors-write.ts";
import { saveModelWeights } from "../../formats/sentence-transformers/embedding-write.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import type { FloatDType, Tensor } from "../../graph/index.ts";
import { makeFolder } from "../../io/atomic-files.ts";
import type { StagedFiles } from "../../io/staged-files.ts";
import { adapterConfig, adapterData } from "../../models/adapters/adapter-files.ts";
import type { Adapter } from "../../models/adapters/adapters.ts";
import { tensorData } from "../../models/loading/export.ts";
import type { Model } from "../../models/model.ts";

/** How what a run trains lies in files: a whole model, or an adapter beside a reference to its base. */
export interface TrainedFiles {
  /** Name of the safetensors file of a checkpoint. */
  readonly file: string;
  data(dtype: FloatDType): TensorData[];
  /** Holds a checkpoint to what is trained, where its files say more than their sizes. @throws HeddleError INVALID_ARGUMENT */
  needSame?(checkpoint: string): Promise<void>;
  /** What a resume reads back, by the names in that file. */
  tensors(): ReadonlyMap<string, Tensor>;
  /** Configuration files by name; the one that readers begin with is the last. */
  configuration(dtype: FloatDType): Record<string, string>;
  /** Writes the finished weights, as some of `files`. */
  save(folder: string, dtype: FloatDType, files: StagedFiles): Promise<void>;
  /** Has `files` take the place of an earlier save in the folder, once all but the configuration files are staged. */
  replace(folder: string, files: StagedFiles): Promise<void>;
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** A whole model. Weights that are not named are frozen, and stay in the type they have. */
export function modelFiles(model: Model, names: readonly string[] = model.weightNames): TrainedFiles {
  const trained = new Set(names);
  const data = (dtype: FloatDType) =>
    model.weightNames.map((name) => {
      const tensor = model.weight(name);
      return tensorData(name, tensor, trained.has(name) ? dtype : (tensor.dtype as FloatDType));
    });
  return {
    file: "model.safetensors",
    async needSame(checkpoint) {
      needSameConfig(await readModelConfig(checkpoint), model.config, checkpoint);
    },
    data,
    tensors: () => new Map(names.map((name) => [name, model.weight(name)])),
    configuration: (dtype) => ({ "config.json": json(modelConfigToJson({ ...model.config, dtype })) }),
    async save(folder, dtype, files) {
      await saveModelWeights(folder, unstackExperts(data(dtype), model.config, model.device), model.config, {}, files);
    },
    replace: (folder, files) => replaceModel(files, folder),
  };
}

/** What of a configuration says nothing about what the layers compute: a run may go on with another. */
const FREE: ReadonlySet<string> = new Set<keyof ModelConfig>([
  "dtype",
  "architectures",
  "initializerRange",
  "bosTokenId",
  "eosTokenIds",
  "padTokenId",
  "classifier",
  "embedding",
  "valueHead",
]);

/** Weights of the same shapes are read into a model with other heads, positions or fewer layers as well, which computes something else. */
function needSameConfig(began: ModelConfig, own: ModelConfig, checkpoint: string): void {
  // Written and read again, as the checkpoint's was.
  const now = parseModelConfig(modelConfigToJson(own));
  for (const name of Object.keys({ ...began, ...now }) as (keyof ModelConfig)[]) {
    const [expected, got] = [began[name], now[name]].map((value) => JSON.stringify(value) ?? "none");
    if (!FREE.has(name) && expected !== got)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `resume: expected a model with ${name} ${expected}, which the run began with (${checkpoint}), got ${got}`,
      );
  }
}

/**
 * An adapter in PEFT's layout, and further weights that are trained beside it, whole.
 * @param base where the frozen base lies
 */
export function adapterFiles(
  model: Model,
  adapter: Adapter,
  names: readonly string[],
  base: string | undefined,
): TrainedFiles {
  const whole = { ...adapter, saved: new Map([...adapter.saved, ...names.map((name) => [name, name] as const)]) };
  const data = (dtype: FloatDType) => adapterData(model, whole, dtype);
  const beside = () => [...model.activeAdapters, ...model.mergedAdapters].filter((name) => name !== adapter.name);
  return {
    file: ADAPTER_WEIGHTS_FILE,
    async needSame(checkpoint) {
      const began = await readAdapterConfig(checkpoint);
      for (const option of ["r", "alpha", "useRslora"] as const)
        if (began[option] !== adapter.config[option])
          throw new HeddleError(
            "INVALID_ARGUMENT",
            `lora.${option}: expected ${began[option]}, which the run began with (${checkpoint}), got ${adapter.config[option]}`,
          );
    },
    data,
    tensors() {
      const tensors = [...adapter.layers.values()].flatMap(({ a, b }) => [a, b]).concat([...whole.saved.values()]);
      return new Map(data("f32").map(({ name }, i) => [name, model.weight(tensors[i]!)]));
    },
    configuration() {
      const heads = headsToJson(model.config, model.family.architecture);
      return {
        ...(Object.keys(heads).length > 0 && { [HEAD_CONFIG_FILE]: json(heads) }),
        [ADAPTER_CONFIG_FILE]: json(adapterConfig(model, whole, base, beside())),
      };
    },
    async save(folder, dtype, files) {
      await makeFolder(folder);
      await stageSafetensors(files, join(folder, ADAPTER_WEIGHTS_FILE), data(dtype));
    },
    replace: (folder, files) => replaceAdapter(files, folder),
  };
}
