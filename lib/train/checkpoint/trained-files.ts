import { join } from "node:path";
import { HeddleError } from "../../core/errors.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, readAdapterConfig } from "../../formats/adapter-config.ts";
import { type ModelConfig, parseModelConfig } from "../../formats/config/config.ts";
import { modelConfigToJson } from "../../formats/config/config-json.ts";
import { HEAD_CONFIG_FILE, headsToJson } from "../../formats/config/heads.ts";
import { replaceAdapter, replaceModel } from "../../formats/folder-files.ts";
import { folderTensors } from "../../formats/folder-tensors.ts";
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

/** File layout of a run's trained weights: a whole model, or an adapter with a reference to its base. */
export interface TrainedFiles {
  /** Name of a checkpoint's safetensors file. */
  readonly file: string;
  data(dtype: FloatDType): TensorData[];
  /** Checks that a checkpoint's configuration fits the run, in addition to tensor sizes. @throws HeddleError INVALID_ARGUMENT */
  needSame?(checkpoint: string): Promise<void>;
  /** Tensors that a resume restores, by their names in `file`. */
  tensors(): ReadonlyMap<string, Tensor>;
  /** Configuration files by name. The file that readers open first is the last. */
  configuration(dtype: FloatDType): Record<string, string>;
  /** Writes the finished weights, as part of `files`. */
  save(folder: string, dtype: FloatDType, files: StagedFiles): Promise<void>;
  /** Makes `files` replace an earlier save in the folder. Call it when all but the configuration files are staged. */
  replace(folder: string, files: StagedFiles): Promise<void>;
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** Files of a whole model. Weights that are not named are frozen, and keep their type. */
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
      await saveModelWeights(folder, folderTensors(data(dtype), model.config, model.device), model.config, {}, files);
    },
    replace: (folder, files) => replaceModel(files, folder),
  };
}

/** Configuration values that do not affect what the layers compute. A resumed run may change them. */
const CHANGEABLE: ReadonlySet<string> = new Set<keyof ModelConfig>([
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

/**
 * Checks the configuration. Weights of the same shapes also load into a model with different heads, positions or depth, which computes
 * something else.
 */
function needSameConfig(began: ModelConfig, own: ModelConfig, checkpoint: string): void {
  // Serialize and parse the configuration, because the checkpoint's configuration was serialized and parsed too.
  const now = parseModelConfig(modelConfigToJson(own));
  for (const name of Object.keys({ ...began, ...now }) as (keyof ModelConfig)[]) {
    const [expected, got] = [began[name], now[name]].map((value) => JSON.stringify(value) ?? "none");
    if (!CHANGEABLE.has(name) && expected !== got)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `resume: expected a model with ${name} ${expected}, as in the resumed run (${checkpoint}), got ${got}`,
      );
  }
}

/**
 * Files of an adapter in PEFT's layout, with further weights that are trained whole.
 * @param base path of the frozen base
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
            `lora.${option}: expected ${began[option]}, as in the resumed run (${checkpoint}), got ${adapter.config[option]}`,
          );
    },
    data,
    tensors() {
      // The order of adapterData: A and B of each layer, then the weights that are saved whole.
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
