import { join } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import {
  ADAPTER_WEIGHTS_FILE,
  type AdapterFileConfig,
  adapterConfigToJson,
  MAX_ADAPTER_RANK,
  readAdapterConfig,
} from "../../formats/adapter-config.ts";
import { parseModelConfig } from "../../formats/config/config.ts";
import { formatOf } from "../../formats/config/families.ts";
import { HEAD_CONFIG_FILE, headsFromJson } from "../../formats/config/heads.ts";
import { languageModelName } from "../../formats/config/multimodal.ts";
import { sourcesOf } from "../../formats/element-sources.ts";
import { modulePattern } from "../../formats/module-pattern.ts";
import { castTensor } from "../../formats/native-cast.ts";
import type { TensorData } from "../../formats/tensor-data.ts";
import { openWeights, type StoredTensor } from "../../formats/weights.ts";
import type { FloatDType, Tensor } from "../../graph/index.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import { tensorData } from "../loading/export.ts";
import type { Model } from "../model.ts";
import {
  type Adapter,
  adapterTensorNames,
  checkAdapter,
  type LinearLayer,
  type LowRank,
  savedTensorName,
} from "./adapters.ts";
import { linearLayers } from "./linear-layers.ts";
import { loraScale, parseLora } from "./lora.ts";
import { bringsTiedHead, isHeadBesideTied, needOneHead, tiedHead } from "./tied-head.ts";

/** Prefix of all tensor names in PEFT's files. */
const PREFIX = "base_model.model.";

/**
 * Loads a LoRA adapter in PEFT's layout (adapter_config.json and adapter_model.safetensors) onto a model, as f32, and
 * makes it active.
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE if the adapter does not fit the model, UNSUPPORTED for features of
 * PEFT beyond LoRA
 */
export async function loadAdapter(model: Model, folder: string, name: string): Promise<Adapter> {
  const config = await readAdapterConfig(folder);
  const path = join(folder, ADAPTER_WEIGHTS_FILE);
  if (!(await exists(path)))
    throw new HeddleError("NOT_FOUND", `${folder}: expected ${ADAPTER_WEIGHTS_FILE}, found none`);
  const heads = join(folder, HEAD_CONFIG_FILE);
  if (await exists(heads)) await addHeads(model, await readJson(heads), heads);
  const tensors = new Map<string, Tensor>();
  const source = await openWeights(path);
  try {
    const layers = linearLayers(model);
    const adapted = new Map<string, LowRank>();
    const saved = new Map<string, string>();
    /** Maps each tensor's name in the model to its name in the file and its shape. */
    const found = new Map<string, { stored: string; shape: readonly number[] }>();
    let head: string | undefined;
    for (const stored of source.names()) {
      const bare = languageModelName(bareName(stored), model.config.modelType);
      if (bare === undefined) continue; // the vision part, which the model does not have
      if (isHeadBesideTied(model, bare)) {
        head = stored;
        continue;
      }
      const { module, matrix } = placeOf({ stored, bare }, model, layers, path);
      const low = adapterTensorNames(module, name);
      const target = matrix ? low[matrix] : savedTensorName(module, name);
      if (found.has(target))
        throw new HeddleError("INVALID_FILE", `${path}: expected one tensor for each module, got two for ${module}`);
      found.set(target, { stored, shape: source.info(stored).shape });
      if (matrix) adapted.set(module, { ...low, scale: 0 });
      else saved.set(module, target);
    }
    const alphaOf = modulePattern(config.alphaPattern, `${folder}: alpha_pattern`);
    for (const [module, low] of adapted) {
      const { stored = "", shape: [r = 0] = [] } = found.get(low.a) ?? {};
      const alpha = alphaOf(moduleOf(bareName(stored))) ?? config.alpha;
      adapted.set(module, { ...low, scale: loraScale({ r, alpha, useRslora: config.useRslora }) });
    }
    const { r, alpha, dropout, useRslora, modulesToSave } = config;
    const { targetModules: targets } = config;
    // PEFT treats a string as a regular expression. Store the names of the layers that it matched instead.
    const isExpression = typeof targets === "string" && targets !== "all-linear";
    const targetModules = isExpression && adapted.size > 0 ? [...adapted.keys()] : targets;
    const adapter: Adapter = {
      name,
      config: parseLora({ r, alpha, dropout, useRslora, targetModules, modulesToSave }, `${folder}: adapter`),
      layers: adapted,
      saved,
    };
    // Check before reading tensors: a sparse file can hold any number of zeros without taking disk space.
    checkAdapter(adapter, found, layers, new Map(model.weightNames.map((n) => [n, model.asStored(n)])));
    for (const [module, { a }] of adapted) {
      const rank = found.get(a)!.shape[0]!;
      if (rank > MAX_ADAPTER_RANK)
        throw new HeddleError(
          "INVALID_FILE",
          `${path}: ${module}: expected a rank of at most ${MAX_ADAPTER_RANK}, got ${rank}`,
        );
    }
    const tied = saved.get(tiedHead(model) ?? "");
    const embedding = tied && found.get(tied)!.stored;
    needOneHead(model, source, { embedding, head }, { path, isTied: config.ensureWeightTying === true });
    for (const [target, { stored }] of found) tensors.set(target, await toF32(source.tensor(stored), model));
    model.adoptAdapter(adapter, tensors);
    return adapter;
  } catch (error) {
    for (const t of tensors.values()) t.dispose();
    throw error;
  } finally {
    source.close();
  }
}

/** Adds the heads of an adapter's head configuration to the model. */
async function addHeads(model: Model, json: unknown, path: string): Promise<void> {
  if (!isObject(json)) throw new HeddleError("INVALID_FILE", `${path}: expected an object, got ${describe(json)}`);
  const { classifier, valueHead, embedding } = parseModelConfig(
    { ...model.config, ...headsFromJson(json, path) },
    path,
  );
  if (classifier) await model.addClassifier(classifier, { keepLanguageHead: true });
  if (valueHead) await model.addValueHead();
  if (embedding) model.setEmbedding(embedding);
}

function bareName(stored: string): string {
  return stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored;
}

const LOW_RANK = /^(.+)\.lora_([AB])(?:\.default)?\.weight$/;

/** Returns the module of a low-rank matrix, as PEFT names it. */
function moduleOf(bare: string): string {
  return LOW_RANK.exec(bare)?.[1] ?? bare;
}

/** Returns the module that a stored tensor belongs to, and whether it is matrix A or B. A whole weight has no `matrix`. */
function placeOf(
  { stored, bare }: { stored: string; bare: string },
  model: Model,
  layers: ReadonlyMap<string, LinearLayer>,
  path: string,
): { module: string; matrix?: "a" | "b" } {
  const match = LOW_RANK.exec(bare);
  // An adapter of a class without a head, such as LlamaModel, has names without the prefix of the trunk.
  const { trunk = { prefix: "model." } } = formatOf(model.config.modelType);
  const known = (name: string, has: (n: string) => boolean) =>
    [name, `${trunk.prefix}${name}`, `transformer.${name}`].find((n) => has(n));
  const module = match ? known(match[1]!, (n) => layers.has(n)) : known(bare, (n) => model.weightNames.includes(n));
  if (module === undefined)
    throw new HeddleError(
      "INVALID_FILE",
      `${path}: expected low-rank updates of this model's linear layers, got ${JSON.stringify(stored.slice(0, 200))}`,
    );
  return match ? { module, matrix: match[2] === "A" ? "a" : "b" } : { module };
}

async function toF32(t: StoredTensor, model: Model): Promise<Tensor> {
  if (t.dtype !== "f32" && t.dtype !== "bf16" && t.dtype !== "f16")
    throw new HeddleError("UNSUPPORTED", `${t.name}: expected F32, BF16 or F16, got ${t.storedDtype}`);
  return castTensor(model.device, t.shape, sourcesOf(t), {
    name: t.name,
    from: t.dtype,
    to: "f32",
  });
}

/** Returns an adapter's tensors under PEFT's names, for adapter_model.safetensors. */
export function adapterData(model: Model, adapter: Adapter, dtype: FloatDType = "f32"): TensorData[] {
  const out: TensorData[] = [];
  for (const [layer, { a, b }] of adapter.layers)
    for (const [letter, name] of [
      ["A", a],
      ["B", b],
    ] as const)
      out.push(tensorData(`${PREFIX}${layer}.lora_${letter}.weight`, model.weight(name), dtype));
  for (const [weight, name] of adapter.saved) out.push(tensorData(PREFIX + weight, model.weight(name), dtype));
  return out;
}

/**
 * Returns the content of adapter_config.json.
 * @param baseModel path or name of the base model
 * @param beside names of the other adapters that were active in training. A reader must load them too
 */
export function adapterConfig(
  model: Model,
  adapter: Adapter,
  baseModel: string | undefined,
  beside: readonly string[] = [],
): Record<string, unknown> {
  const { config, layers } = adapter;
  const all = linearLayers(model);
  const rankPattern: Record<string, number> = {};
  const alphaPattern: Record<string, number> = {};
  let fanInFanOut = false;
  for (const [layer, { a, scale }] of layers) {
    const r = model.weight(a).shape[0]!;
    if (r !== config.r) rankPattern[layer] = r;
    const alpha = scale * (config.useRslora ? Math.sqrt(r) : r);
    if (Math.abs(alpha / config.alpha - 1) > 1e-9) alphaPattern[layer] = alpha;
    fanInFanOut ||= all.get(layer)!.transposed;
  }
  // Write short names, as PEFT does, if they match the same layers.
  const last = (layer: string) => layer.slice(layer.lastIndexOf(".") + 1);
  const short = new Set([...layers.keys()].map(last));
  const exact = [...all.keys()].every((layer) => !short.has(last(layer)) || layers.has(layer));
  const file: AdapterFileConfig = {
    r: config.r,
    alpha: config.alpha,
    dropout: config.dropout,
    useRslora: config.useRslora,
    targetModules: exact ? [...short] : [...layers.keys()],
    modulesToSave: [...new Set([...adapter.saved.keys()].map((w) => w.replace(/\.(weight|bias)$/, "")))],
    ensureWeightTying: bringsTiedHead(model, adapter),
    rankPattern,
    alphaPattern,
    fanInFanOut,
    baseModel,
    beside: [...beside],
    taskType: taskOf(model),
  };
  return adapterConfigToJson(file);
}

function taskOf({ config: { classifier, embedding } }: Model): AdapterFileConfig["taskType"] {
  if (classifier) return classifier.task === "token" ? "TOKEN_CLS" : "SEQ_CLS";
  return embedding ? "FEATURE_EXTRACTION" : "CAUSAL_LM";
}
