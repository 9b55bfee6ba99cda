// Reads the embedding configuration of a sentence-transformers folder: modules.json, one folder per module,
// config_sentence_transformers.json, and the maximum text length and lower-casing in the Transformer's folder.
import { join } from "node:path";
import { firstOf } from "../../core/amounts.ts";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import type { JsonFields } from "../../io/json.ts";
import type { EmbeddingConfig, EmbeddingLayer, ModelConfig, PoolingMode } from "../config/config-types.ts";
import { joinWeights, openWeights, renameTensors, type WeightSource } from "../weights.ts";
import { readTextLimits } from "./embedding-limits.ts";
import {
  areDistinct,
  MAX_LAYERS,
  NOT_A_PROMPT,
  POOLING_MODES,
  poolingModes,
  SIMILARITIES,
} from "./embedding-schema.ts";
import { EMBEDDING_LAYERS, LAYER_PREFIXES, MODULES, POOLING_KEYS, POOLING_NAMES, TORCH_ACTIVATIONS } from "./names.ts";

type Kind = (typeof MODULES)[number];

interface Module {
  kind: Kind;
  /** Folder within the model's folder. It may be empty for Transformer and Normalize. */
  folder: string;
}

const invalid = (where: string, message: string) => new HeddleError("INVALID_FILE", `${where}: ${message}`);
const unsupported = (where: string, message: string) => new HeddleError("UNSUPPORTED", `${where}: ${message}`);

/**
 * Reads the modules of a sentence-transformers folder. Returns undefined for other folders.
 * @throws HeddleError IO, INVALID_FILE, UNSUPPORTED
 */
export async function readModules(folder: string): Promise<Module[] | undefined> {
  const path = join(folder, "modules.json");
  if (!(await exists(path))) return undefined;
  const modules = await readJson(path);
  if (!Array.isArray(modules)) throw invalid(path, "expected an array of modules");
  if (modules.length > MAX_LAYERS + 3)
    throw unsupported(path, `expected at most ${MAX_LAYERS + 3} modules, got ${modules.length}`);
  const read = modules.map((module: JsonFields | null, i): Module => {
    const type = module?.type;
    if (typeof type !== "string") throw invalid(path, `module ${i}: expected a type`);
    const kind = MODULES.find((name) => name === type.slice(type.lastIndexOf(".") + 1));
    if (kind === undefined) throw unsupported(path, `expected ${MODULES.join(", ")}, got ${describe(type)}`);
    const inner = typeof module?.path === "string" ? module.path : "";
    // Accept only the plain name of a folder inside this one.
    const isName = /^[\w.-]{1,200}$/.test(inner) && !/^\.\.?$/.test(inner);
    const mayLackFolder = kind === "Normalize" || (kind === "Transformer" && inner === "");
    if (!isName && !mayLackFolder) throw invalid(path, `path: expected a folder's name, got ${describe(inner)}`);
    return { kind, folder: inner };
  });
  if (read[0]?.kind !== "Transformer")
    throw invalid(path, `expected a Transformer first, got ${read[0]?.kind ?? "no modules"}`);
  // The required order: Transformer (0), Pooling (1), Dense and LayerNorm in any order (2), Normalize (3).
  const ranks = read.map(({ kind }) => Math.min(2, MODULES.indexOf(kind)) + (kind === "Normalize" ? 1 : 0));
  const once = read.filter(({ kind }) => kind !== "Dense" && kind !== "LayerNorm").map(({ kind }) => kind);
  if (ranks.some((rank, i) => i > 0 && rank < ranks[i - 1]!) || new Set(once).size < once.length)
    throw unsupported(
      path,
      `expected a Transformer, Pooling, layers and Normalize, in this order, got ${read.map(({ kind }) => kind).join(", ")}`,
    );
  return read;
}

/** The embedding configuration of a sentence-transformers folder, and the weights of layers after pooling. */
interface EmbeddingFiles {
  /** Undefined for a folder without a Pooling module. Such a model outputs token vectors, or scores (CrossEncoder). */
  embedding: EmbeddingConfig | undefined;
  /** Joins the model's weights with those of the layers after pooling. Closing the result closes all files. */
  withLayers(weights: WeightSource): Promise<WeightSource>;
}

/**
 * Reads the configurations of a folder's modules, config_sentence_transformers.json, and the Transformer's text limits.
 * @param modules see `readModules` @param config the Transformer's configuration
 * @throws HeddleError IO, INVALID_FILE, UNSUPPORTED for an unsupported module or pooling mode
 */
export async function readEmbeddingConfig(
  folder: string,
  modules: readonly Module[],
  config: ModelConfig,
): Promise<EmbeddingFiles> {
  const transformer = modules.find(({ kind }) => kind === "Transformer")?.folder ?? "";
  const pooled = modules.find(({ kind }) => kind === "Pooling");
  if (!pooled) {
    const [, other] = modules;
    if (other) throw unsupported(join(folder, "modules.json"), `expected Pooling before ${other.kind}, got none`);
    return { embedding: undefined, withLayers: async (weights) => weights };
  }
  const pooling = await readPooling(join(folder, pooled.folder, "config.json"));
  const layered = modules.filter(({ kind }) => kind === "Dense" || kind === "LayerNorm");
  const layers: EmbeddingLayer[] = [];
  let width = config.hiddenSize * poolingModes(pooling.pooling).length;
  for (const module of layered) {
    const layer = await readLayer(module, join(folder, module.folder, "config.json"), width);
    if (layer.type === "dense") width = layer.outFeatures;
    layers.push(layer);
  }
  return {
    embedding: {
      ...pooling,
      normalize: modules.some(({ kind }) => kind === "Normalize"),
      ...(layers.length > 0 && { layers }),
      ...(await readPrompts(join(folder, "config_sentence_transformers.json"), width)),
      ...(await readTextLimits(join(folder, transformer), config)),
    },
    withLayers: (weights) => openLayers(folder, layered, layers, weights),
  };
}

async function readObject(file: string): Promise<JsonFields> {
  const config = await readJson(file);
  if (!isObject(config)) throw invalid(file, `expected an object, got ${describe(config)}`);
  return config;
}

async function readPooling(file: string): Promise<Pick<EmbeddingConfig, "pooling" | "includePrompt">> {
  const config = await readObject(file);
  const declared = config.pooling_mode;
  const named = typeof declared === "string" ? [declared] : Array.isArray(declared) ? declared : undefined;
  const chosen = named
    ? named.map((name) => {
        if (typeof name === "string" && Object.hasOwn(POOLING_NAMES, name))
          return POOLING_NAMES[name as keyof typeof POOLING_NAMES];
        throw unsupported(
          file,
          `pooling_mode: expected one of ${Object.keys(POOLING_NAMES).join(", ")}, got ${describe(name)}`,
        );
      })
    : // Flags have no order, so the modes are in the order of POOLING_MODES.
      POOLING_MODES.filter((mode) => config[POOLING_KEYS[mode]] === true);
  const unknown = Object.keys(config).find(
    (key) =>
      key.startsWith("pooling_mode_") && config[key] === true && !Object.values<string>(POOLING_KEYS).includes(key),
  );
  if (unknown !== undefined || chosen.length === 0)
    throw unsupported(
      file,
      `expected one or more of ${Object.values(POOLING_KEYS).join(", ")}, got ${unknown === undefined ? "none" : describe(unknown)}`,
    );
  if (!areDistinct(chosen)) throw unsupported(file, `pooling_mode: expected distinct modes, got ${named!.join(", ")}`);
  return {
    pooling: chosen.length === 1 ? chosen[0]! : ([...chosen] as PoolingMode[]),
    ...(config.include_prompt === false && { includePrompt: false }),
  };
}

async function readLayer({ kind }: Module, file: string, width: number): Promise<EmbeddingLayer> {
  const config = await readObject(file);
  const needWidth = (key: string) => {
    if (config[key] !== width) throw invalid(file, `${key}: expected ${width}, got ${describe(config[key])}`);
  };
  if (kind === "LayerNorm") {
    needWidth("dimension");
    return { type: "layer_norm" };
  }
  needWidth("in_features");
  const { out_features: out, bias = true, module_input_name: input, module_output_name: output } = config;
  if (!isWhole(out, 1, 2 ** 20))
    throw invalid(file, `out_features: expected ${wholeRange(1, 2 ** 20)}, got ${describe(out)}`);
  if (typeof bias !== "boolean") throw invalid(file, `bias: expected true or false, got ${describe(bias)}`);
  for (const [key, name] of Object.entries({ module_input_name: input, module_output_name: output }))
    if (name !== undefined && name !== null && name !== "sentence_embedding")
      throw unsupported(file, `${key}: expected sentence_embedding, got ${describe(name)}`);
  const residual = config.use_residual;
  if (residual !== undefined && residual !== null && residual !== false)
    throw unsupported(file, `use_residual: expected false, got ${describe(residual)}`);
  // Without the key, the activation is tanh, as in sentence-transformers' Dense.
  const given = config.activation_function ?? TORCH_ACTIVATIONS.tanh;
  const known = Object.keys(TORCH_ACTIVATIONS) as (keyof typeof TORCH_ACTIVATIONS)[];
  // Also accept the short name of a class, such as `torch.nn.Tanh`.
  const activation = known.find(
    (name) => TORCH_ACTIVATIONS[name] === given || TORCH_ACTIVATIONS[name].replace(/modules\.\w+\./, "") === given,
  );
  if (activation === undefined)
    throw unsupported(
      file,
      `activation_function: expected one of ${Object.values(TORCH_ACTIVATIONS).join(", ")}, got ${describe(given)}`,
    );
  return { type: "dense", outFeatures: out as number, bias, activation };
}

/** Reads prompts, similarity and truncation. @param width the vectors' width before truncation */
async function readPrompts(file: string, width: number): Promise<Partial<EmbeddingConfig>> {
  if (!(await exists(file))) return {};
  const config = await readObject(file);
  const { prompts = {}, default_prompt_name: name, similarity_fn_name: similarity, truncate_dim: dim } = config;
  // A null prompt counts as empty.
  const given = Object.entries(prompts ?? {}).map(([key, prompt]) => [key, prompt ?? ""] as const);
  if (typeof prompts !== "object" || Array.isArray(prompts) || given.length > 1000)
    throw invalid(file, `prompts: expected an object of at most 1000 texts, got ${describe(prompts)}`);
  if (given.some(([key]) => key === "__proto__"))
    throw unsupported(file, `prompts: expected ${NOT_A_PROMPT}, got "__proto__"`);
  for (const [key, prompt] of given)
    if (typeof prompt !== "string" || prompt.length > 65536 || key.length > 200)
      throw invalid(
        file,
        `prompts.${key.slice(0, 100)}: expected a text of at most 65536 characters, got ${describe(prompt)}`,
      );
  const known = given.map(([key]) => key);
  if (name !== undefined && name !== null && !(typeof name === "string" && known.includes(name)))
    throw invalid(
      file,
      `default_prompt_name: expected one of the prompts (${firstOf(known, 20) || "none"}), got ${describe(name)}`,
    );
  const way = similarity ?? undefined;
  if (way !== undefined && !SIMILARITIES.some((one) => one === way))
    throw unsupported(file, `similarity_fn_name: expected one of ${SIMILARITIES.join(", ")}, got ${describe(way)}`);
  if (dim !== undefined && dim !== null && !isWhole(dim, 1))
    throw invalid(file, `truncate_dim: expected ${wholeRange(1)}, got ${describe(dim)}`);
  return {
    ...(given.length > 0 && { prompts: Object.fromEntries(given) as Record<string, string> }),
    ...(typeof name === "string" && { defaultPromptName: name }),
    ...(way !== undefined && { similarity: way as NonNullable<EmbeddingConfig["similarity"]> }),
    // A truncateDim above the width truncates nothing.
    ...(typeof dim === "number" && dim <= width && { truncateDim: dim }),
  };
}

/** Opens the tensors in the layers' folders. */
async function openLayers(
  folder: string,
  modules: readonly Module[],
  layers: readonly EmbeddingLayer[],
  weights: WeightSource,
): Promise<WeightSource> {
  const others: WeightSource[] = [];
  try {
    for (const [i, module] of modules.entries()) {
      const prefix = LAYER_PREFIXES[layers[i]!.type];
      const opened = await openWeights(join(folder, module.folder));
      others.push(opened);
      const unknown = opened.names().find((name) => !name.startsWith(prefix));
      if (unknown !== undefined)
        throw invalid(opened.path, `expected ${prefix}weight and ${prefix}bias, got ${describe(unknown)}`);
      others[i] = renameTensors(opened, (name) => `${EMBEDDING_LAYERS}${i}.${name.slice(prefix.length)}`);
    }
    return joinWeights(weights, others);
  } catch (error) {
    for (const other of others) other.close();
    throw error;
  }
}
