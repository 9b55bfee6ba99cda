// Writes the files of sentence-transformers for an embedding model.
import { dirname, join } from "node:path";
import { makeFolder } from "../../io/atomic-files.ts";
import type { StagedFiles } from "../../io/staged-files.ts";
import type { EmbeddingConfig, ModelConfig, PoolingMode } from "../config/config-types.ts";
import { type SaveOptions, stageSafetensors, stageWeights } from "../safetensors/safetensors-write.ts";
import type { TensorData } from "../tensor-data.ts";
import { embeddingWidths, POOLING_MODES, poolingModes } from "./embedding-schema.ts";
import {
  EMBEDDING_LAYERS,
  LAYER_MODULES,
  LAYER_PREFIXES,
  POOLING_KEYS,
  POOLING_NAMES,
  TORCH_ACTIVATIONS,
} from "./names.ts";

const TYPE = "sentence_transformers.models.";

/** A module in modules.json. */
interface Entry {
  name: string;
  path: string;
  /** The content of its config.json. */
  config?: object;
}

function nameOf(mode: PoolingMode): string {
  return Object.entries(POOLING_NAMES).find(([, one]) => one === mode)![0];
}

function entriesOf(config: ModelConfig, embedding: EmbeddingConfig): Entry[] {
  const modes = poolingModes(embedding.pooling);
  const widths = embeddingWidths(config);
  const inOrder = String(modes) === String(POOLING_MODES.filter((mode) => modes.includes(mode)));
  const pooling = {
    // Flags imply the order of POOLING_MODES. Another order needs the list `pooling_mode`, which only newer versions read.
    ...(inOrder
      ? {
          word_embedding_dimension: config.hiddenSize,
          ...Object.fromEntries(POOLING_MODES.map((mode) => [POOLING_KEYS[mode], modes.includes(mode)])),
        }
      : { embedding_dimension: config.hiddenSize, pooling_mode: modes.map(nameOf) }),
    include_prompt: embedding.includePrompt ?? true,
  };
  const layers = (embedding.layers ?? []).map((layer, i): Entry => {
    const name = LAYER_MODULES[layer.type];
    const path = `${i + 2}_${name}`;
    if (layer.type === "layer_norm") return { name, path, config: { dimension: widths[i] } };
    const { outFeatures, bias, activation } = layer;
    const sizes = { in_features: widths[i], out_features: outFeatures, bias };
    return { name, path, config: { ...sizes, activation_function: TORCH_ACTIVATIONS[activation] } };
  });
  const normalize = { name: "Normalize", path: `${layers.length + 2}_Normalize` };
  return [
    { name: "Transformer", path: "" },
    { name: "Pooling", path: "1_Pooling", config: pooling },
    ...layers,
    ...(embedding.normalize ? [normalize] : []),
  ];
}

/**
 * Returns the configuration files of sentence-transformers, by path inside the model's folder, or none for a model that
 * does not embed.
 */
function embeddingFiles(config: ModelConfig): Record<string, string> {
  const { embedding, maxPositionEmbeddings } = config;
  if (!embedding) return {};
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const entries = entriesOf(config, embedding);
  const { prompts, defaultPromptName, similarity, truncateDim, maxSeqLength, lowercase } = embedding;
  return {
    "modules.json": json(entries.map(({ name, path }, idx) => ({ idx, name: String(idx), path, type: TYPE + name }))),
    "sentence_bert_config.json": json({
      max_seq_length: Math.min(maxSeqLength ?? maxPositionEmbeddings, maxPositionEmbeddings),
      do_lower_case: lowercase ?? false,
    }),
    "config_sentence_transformers.json": json({
      prompts: prompts ?? {},
      default_prompt_name: defaultPromptName ?? null,
      similarity_fn_name: similarity ?? null,
      ...(truncateDim !== undefined && { truncate_dim: truncateDim }),
    }),
    ...Object.fromEntries(entries.flatMap((e) => (e.config ? [[`${e.path}/config.json`, json(e.config)]] : []))),
  };
}

/**
 * Stages a model's weights and sentence-transformers' files. Layers after pooling get separate folders. All files appear together with the
 * other files of `files`.
 * @returns the total size of the weight files in bytes
 */
export async function saveModelWeights(
  folder: string,
  tensors: readonly TensorData[],
  config: ModelConfig,
  options: SaveOptions,
  files: StagedFiles,
): Promise<{ bytes: number }> {
  const beside = tensors.filter(({ name }) => name.startsWith(EMBEDDING_LAYERS));
  const trunk = tensors.filter(({ name }) => !name.startsWith(EMBEDDING_LAYERS));
  let { bytes } = await stageWeights(files, folder, trunk, options);
  for (const [name, text] of Object.entries(embeddingFiles(config))) {
    const path = join(folder, name);
    await makeFolder(dirname(path));
    await files.writeText(path, text);
  }
  for (const [i, layer] of (config.embedding?.layers ?? []).entries()) {
    const before = `${EMBEDDING_LAYERS}${i}.`;
    const own = beside.filter(({ name }) => name.startsWith(before));
    const renamed = own.map((data) => ({ ...data, name: LAYER_PREFIXES[layer.type] + data.name.slice(before.length) }));
    const { signal } = options;
    const path = join(folder, `${i + 2}_${LAYER_MODULES[layer.type]}`, "model.safetensors");
    bytes += await stageSafetensors(files, path, renamed, signal ? { signal } : {});
  }
  return { bytes };
}
