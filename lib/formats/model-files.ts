// Reads everything that a model is loaded from, in any format: configuration, weights under transformers' names, generation
// defaults, model card, and the tokenizer's path.
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HeddleError } from "../core/errors.ts";
import { exists, ioError, readJson } from "../io/atomic-files.ts";
import { type ModelConfig, parseModelConfig } from "./config/config.ts";
import { formatOf } from "./config/families.ts";
import { type GenerationConfig, readGenerationConfig } from "./config/generation-config.ts";
import { modelConfigFromGguf } from "./config/gguf-to-config.ts";
import { VALUE_HEAD } from "./config/heads.ts";
import { languageModelName } from "./config/multimodal.ts";
import { stackExperts, stackGgufExperts } from "./experts.ts";
import { readFp8 } from "./fp8.ts";
import { joinGateUp } from "./gate-up.ts";
import { withHeadBiases } from "./gguf/gguf-encoder.ts";
import { splitFused } from "./gguf/gguf-fused.ts";
import { huggingFaceName } from "./gguf/gguf-names.ts";
import { stackHeadNorms } from "./head-norms.ts";
import { type ModelCard, modelCardFromGguf, readModelCard } from "./model-card.ts";
import { readEmbeddingConfig, readModules } from "./sentence-transformers/embedding-config.ts";
import { checkEmbedding } from "./sentence-transformers/embedding-schema.ts";
import { VOCABULARY_FILES } from "./tokenizer-files.ts";
import { openWeights, renameTensors, type WeightSource } from "./weights.ts";

/** The files of an opened model. */
export interface ModelFiles {
  config: ModelConfig;
  /** Weights under transformers' names ("model.layers.0.self_attn.q_proj.weight"), also for GGUF. */
  weights: WeightSource;
  generation: GenerationConfig;
  card: ModelCard | undefined;
  /** The path for Tokenizer.load: a folder or GGUF file with a vocabulary, or undefined. */
  tokenizerPath: string | undefined;
  /** Closes the weight files. */
  close(): void;
}

/**
 * Opens a model: a Hugging Face folder (config.json and safetensors), a checkpoint folder, a .safetensors file with its config.json, or a
 * .gguf file. Any part of a split GGUF works. Reads only the headers. Errors: NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED.
 */
export async function openModelFiles(path: string): Promise<ModelFiles> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path, "opened");
  }
  // Early sentence-transformers folders have the Transformer in a subfolder. Their outer config.json contains only a
  // version.
  const transformer = isFolder ? await transformerOf(path) : undefined;
  if (transformer !== undefined) return openAt(join(path, transformer), true, path);
  return openAt(path, isFolder);
}

/** @param outer the folder with modules.json, if that is not the weights' folder */
async function openAt(path: string, isFolder: boolean, outer?: string): Promise<ModelFiles> {
  const folder = isFolder ? path : dirname(path);
  const weights = await openWeights(path).catch((error) => explained(error, folder));
  try {
    return weights.format === "gguf" ? fromGguf(weights, path) : await fromFolder(weights, folder, outer ?? folder);
  } catch (error) {
    weights.close();
    throw error;
  }
}

/**
 * Returns the Transformer's subfolder in a sentence-transformers folder, or undefined if the Transformer is in the
 * folder itself.
 */
async function transformerOf(folder: string): Promise<string | undefined> {
  const found = (await readModules(folder))?.find(({ kind }) => kind === "Transformer")?.folder;
  return found === "" ? undefined : found;
}

/**
 * Rethrows the error of a folder without readable weights. If its config.json has an unsupported model type, throws the
 * error about the type instead.
 */
async function explained(error: unknown, folder: string): Promise<never> {
  if (error instanceof HeddleError && ["NOT_FOUND", "UNSUPPORTED"].includes(error.code))
    await readModelConfig(folder).catch((other) => {
      if (other instanceof HeddleError && other.code === "UNSUPPORTED") throw other;
    });
  throw error;
}

/** Reads and normalizes `config.json` of a folder. Errors: NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const path = join(folder, "config.json");
  return parseModelConfig(await readJson(path), path);
}

async function fromFolder(weights: WeightSource, folder: string, outer: string): Promise<ModelFiles> {
  const config = await readModelConfig(folder);
  // In TRL's checkpoints only this tensor shows that there is a value head.
  if (weights.has(`${VALUE_HEAD}.weight`)) config.valueHead = true;
  const modules = await readModules(outer);
  const files = modules && (await readEmbeddingConfig(outer, modules, config));
  if (files) {
    config.embedding = files.embedding;
    // The config.json of a model that was saved without a head may name a class with one. Name the class without a head
    // instead, so that the loader accepts the missing weight.
    const { architecture, encoder, trunk = LLAMA_TRUNK } = formatOf(config.modelType);
    if (
      files.embedding &&
      !encoder &&
      !config.tieWordEmbeddings &&
      weights.has(trunk.bare) &&
      !weights.has("lm_head.weight")
    )
      config.architectures = [architecture.replace(/(ForCausalLM|LMHeadModel)$/, "Model")];
    checkEmbedding(config, (message) => new HeddleError("INVALID_FILE", `${outer}: ${message}`));
  }
  const card = await readModelCard(folder);
  const renamed = renameTensors(weights, (name) => canonicalName(name, config, weights));
  const all = files ? await files.withLayers(renamed) : renamed;
  return {
    config,
    weights: stackHeadNorms(stackExperts(readFp8(all), config), config),
    generation: await readGenerationConfig(folder),
    card,
    tokenizerPath: (await hasTokenizer(folder)) ? folder : undefined,
    close: () => all.close(),
  };
}

/** Whether a folder has a vocabulary for Tokenizer.load. It ignores vocab.json, which is useful only together with merges.txt. */
async function hasTokenizer(folder: string): Promise<boolean> {
  for (const name of VOCABULARY_FILES) {
    if (name === "vocab.json") continue;
    if (await exists(join(folder, name))) return true;
  }
  return false;
}

function fromGguf(weights: WeightSource, path: string): ModelFiles {
  const metadata = weights.gguf!;
  const config = modelConfigFromGguf(weights);
  const generation: GenerationConfig = {};
  if (config.bosTokenId !== null) generation.bosTokenId = config.bosTokenId;
  if (config.eosTokenIds.length > 0) generation.eosTokenIds = config.eosTokenIds;
  return {
    config,
    weights: joinGateUp(
      stackGgufExperts(
        renameTensors(withHeadBiases(splitFused(weights, config), config), (name) => nameFromGguf(name, config, path)),
        config,
      ),
      config,
    ),
    generation,
    card: modelCardFromGguf(metadata),
    tokenizerPath: metadata.has("tokenizer.ggml.tokens") ? path : undefined,
    close: () => weights.close(),
  };
}

/**
 * Returns a GGUF tensor's name in transformers. A tensor that the family does not have is refused, because ignoring it
 * would change the result.
 */
function nameFromGguf(name: string, config: ModelConfig, path: string): string | undefined {
  // Skip RoPE's tables. modelConfigFromGguf has read them into the configuration.
  if (/^rope_(freqs|factors_long|factors_short)\.weight$/.test(name) || name.endsWith(".attn_rot_embd.weight"))
    return undefined;
  const known = huggingFaceName(name, config.modelType);
  if (known !== undefined) return known;
  throw new HeddleError(
    "UNSUPPORTED",
    `${path}: tensor ${JSON.stringify(name)} is not part of a ${config.modelType} model`,
  );
}

/** Prefixes of weights outside the trunk. */
const HEADS = /^(embedding_layers|lm_head|embed_out|score|classifier|v_head|cls|head|decoder)\./;

/**
 * Returns transformers' name of a folder's weight. Checkpoints that were saved without a head ("h.0.…", "layers.0.…") get
 * the trunk's prefix. Returns undefined for buffers that older versions of transformers saved, and for weights that the
 * family does not read.
 */
function canonicalName(stored: string, config: ModelConfig, weights: WeightSource): string | undefined {
  const name = languageModelName(stored, config.modelType);
  if (name === undefined) return undefined;
  const { trunk = LLAMA_TRUNK, encoder, unread } = formatOf(config.modelType);
  if (/\.rotary_emb\.inv_freq$|embeddings\.(position|token_type)_ids$/.test(name)) return undefined;
  const whole =
    weights.has(trunk.bare) && !name.startsWith(trunk.prefix) && !HEADS.test(name) ? trunk.prefix + name : name;
  if (unread?.(config.classifier?.task).test(whole)) return undefined;
  if (!encoder) return whole;
  // The first BERT checkpoints name a norm's weight and bias gamma and beta.
  return whole.replace(/LayerNorm\.gamma$/, "LayerNorm.weight").replace(/LayerNorm\.beta$/, "LayerNorm.bias");
}

const LLAMA_TRUNK = { prefix: "model.", bare: "embed_tokens.weight" };
