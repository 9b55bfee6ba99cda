import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { GenerationConfig } from "../formats/config/generation-config.ts";
import { defaultModelPath } from "../formats/default-model.ts";
import { elementsIn, headWidth, inOrderOf, qkvWidth, sourcesOf } from "../formats/element-sources.ts";
import { ggufRow, type LayoutChange, layoutChange } from "../formats/gguf/gguf-names.ts";
import { type ModelCard, readModelCard } from "../formats/model-card.ts";
import { type ModelFiles, openModelFiles } from "../formats/model-files.ts";
import { castTogether } from "../formats/native-cast.ts";
import { isQuantizedTarget } from "../formats/quantization-choice.ts";
import { isNumber } from "../graph/dtype.ts";
import { type Device, isQuantized, openDevice } from "../graph/index.ts";
import { type FoundModel, foundBy, type ResolveOptions, resolveModel } from "../hub/resolve.ts";
import { loadAdapter } from "../models/adapters/adapter-files.ts";
import { loadModel, type NamedWeights } from "../models/loading/load.ts";
import type { Model } from "../models/model.ts";
import { Tokenizer } from "../tokenizer/index.ts";
import { DEFAULT_ADAPTER, findBase, isAdapterFolder } from "./adapters.ts";
import type { LoadOptions } from "./load-options.ts";

/** Everything that a folder or file contains about a model. */
export interface LoadedModel {
  model: Model;
  config: ModelConfig;
  generation: GenerationConfig;
  card: ModelCard | undefined;
  tokenizer: Tokenizer | undefined;
  /** Path that the model was loaded from. */
  path: string;
  /** Name by which the model was loaded from the shared cache or from Ollama. */
  name?: string | undefined;
}

/**
 * Returns the path of a model: `default` is the embedded model, and a name such as `OWNER/NAME` a model in the shared cache.
 * @throws HeddleError as resolveModel
 */
export async function modelPath(name: string, options?: ResolveOptions): Promise<string> {
  if (typeof name !== "string") throw invalidArgument("model", "a path or default", name);
  if (name === "") throw new HeddleError("INVALID_ARGUMENT", "model: expected a path or default, got an empty name");
  return name === "default" ? defaultModelPath() : resolveModel(name, options);
}

/**
 * Loads a Hugging Face folder, a checkpoint folder, a .safetensors file with its config.json, a .gguf file, or `default`. A name such as
 * `OWNER/NAME` is a model in the shared cache.
 * @param base overrides the base in an adapter's adapter_config.json
 * @throws HeddleError NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, ABORTED
 */
export async function loadLanguageModel(name: string, options: LoadOptions = {}, base?: string): Promise<LoadedModel> {
  const { dtype = "auto", signal, download, quantizedActivations } = options;
  if (quantizedActivations !== undefined && quantizedActivations !== "int8" && quantizedActivations !== "f32")
    throw invalidArgument("quantizedActivations", "int8 or f32", quantizedActivations);
  if (dtype !== "auto" && dtype !== "f32" && dtype !== "bf16" && dtype !== "f16" && !isQuantizedTarget(dtype))
    throw invalidArgument("dtype", "auto, f32, bf16, f16, q8_0, q4_0, q4_k or q6_k", dtype);
  throwIfAborted(signal, "load");
  openDevice(options); // checks the device options before a model is looked up
  const path = await modelPath(name, { download, signal });
  if (await isAdapterFolder(path)) return loadAdapted(path, options, base);
  return name === "default" ? loadFiles({ path: name }, options) : loadFiles(foundBy(name, path), options);
}

/** Loads a model by the path of its files, or `default`. */
async function loadFiles({ path: given, name }: FoundModel, options: LoadOptions): Promise<LoadedModel> {
  const { dtype = "auto", onProgress, signal, quantizedActivations } = options;
  const path = given === "default" ? defaultModelPath() : given;
  const device = openDevice(options);
  const files = await openModelFiles(path);
  try {
    const tokenizer = await loadTokenizer(files, signal);
    const model = await loadModel(files.config, namedWeights(files, device), {
      device,
      dtype,
      quantizedActivations,
      signal,
      onProgress: onProgress && ((loaded, total) => onProgress({ loaded, total })),
    });
    const { config, generation, card } = files;
    return { model, config, generation, card, tokenizer, name, path: given === "default" ? given : resolve(path) };
  } catch (error) {
    throwIfAborted(signal, "load");
    throw error;
  } finally {
    files.close(); // tensors keep the mapping alive
  }
}

/** Loads the folder of a LoRA adapter: the base that its adapter_config.json names, and the adapter on it. */
async function loadAdapted(folder: string, options: LoadOptions, base: string | undefined): Promise<LoadedModel> {
  const loaded = await loadFiles(await findBase(folder, base, options), options);
  try {
    await loadAdapter(loaded.model, folder, DEFAULT_ADAPTER);
    const tokenizer = existsSync(join(folder, "tokenizer.json"))
      ? await Tokenizer.load(folder, options.signal ? { signal: options.signal } : {})
      : loaded.tokenizer;
    return { ...loaded, tokenizer, card: (await readModelCard(folder)) ?? loaded.card };
  } catch (error) {
    loaded.model.dispose();
    throw error;
  }
}

/** Loads the tokenizer of files that are open. Undefined if they have none. */
export async function loadTokenizer(
  files: ModelFiles,
  signal: AbortSignal | undefined,
): Promise<Tokenizer | undefined> {
  if (files.tokenizerPath === undefined) return undefined;
  const gguf = files.weights.gguf;
  return gguf ? Tokenizer.fromGgufAsync(gguf.record(), { signal }) : Tokenizer.load(files.tokenizerPath, { signal });
}

/** Loads the tokenizer of a model's folder or file, or of a folder that contains only tokenizer.json. */
export async function loadTokenizerOf(name: string): Promise<Tokenizer> {
  const path = await modelPath(name, { needs: "tokenizer" });
  try {
    return await Tokenizer.load(path);
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== "NOT_FOUND") throw error;
    // In a folder of GGUF files, one of them contains the tokenizer.
    const files = await openModelFiles(path).catch(() => undefined);
    const tokenizer = files && (await loadTokenizer(files, undefined).finally(() => files.close()));
    if (!tokenizer) throw error;
    return tokenizer;
  }
}

/** Presents a file's weights in transformers' layout, whatever the file's own layout. */
function namedWeights({ weights, config }: ModelFiles, device: Device): NamedWeights {
  if (weights.format !== "gguf") return weights;
  const changeOf = (name: string): LayoutChange => {
    const change = layoutChange(name, config);
    // A quantized matrix cannot be transposed, because blocks run along a row. Linear layers accept it as it is.
    return change.kind === "transpose" && isQuantized(weights.info(name).dtype ?? "") ? { kind: "none" } : change;
  };
  return {
    names: () => weights.names(),
    has: (name) => weights.has(name),
    tensor: (name) => {
      const stored = weights.tensor(name);
      return changeOf(name).kind === "transpose" ? { ...stored, shape: [...stored.shape].reverse() } : stored;
    },
    rowOrder(name) {
      const change = changeOf(name);
      if (change.kind === "qkv") {
        const { heads } = change;
        const width = qkvWidth(weights.tensor(name), heads);
        // Row r is in part p (q, k or v) of head h. In the file, all heads of a part are together.
        return Int32Array.from({ length: 3 * heads * width }, (_, r) => {
          const [h, p] = [Math.floor(r / (3 * width)), Math.floor(r / width) % 3];
          return (p * heads + h) * width + (r % width);
        });
      }
      if (change.kind !== "rope") return undefined;
      const width = headWidth(weights.tensor(name), change.heads);
      return Int32Array.from({ length: width }, (_, row) => ggufRow(row, width));
    },
    async reordered(name) {
      const change = changeOf(name);
      const stored = weights.tensor(name);
      const { dtype } = stored;
      if (change.kind === "none" || !isNumber(dtype)) return undefined;
      if (change.kind !== "norm") return inOrderOf(device, stored, change, "safetensors");
      // Convert in the file's type, so that the rounding equals that of a folder converted from the file.
      const numbers = await castTogether(device, sourcesOf(stored), { name, from: dtype, to: dtype, addend: -1 });
      return { sources: [elementsIn(numbers)], from: dtype };
    },
  };
}
