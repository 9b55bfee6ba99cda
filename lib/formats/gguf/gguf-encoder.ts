// Converts configurations of encoders (BERT's families, modernbert, nomic_bert) from and to GGUF metadata, with llama.cpp's keys.
import { describe, HeddleError } from "../../core/errors.ts";
import { ACTIVATIONS, isActivation } from "../config/activations.ts";
import type { ModelConfig } from "../config/config.ts";
import { formatOf } from "../config/families.ts";
import { elementsIn } from "../element-sources.ts";
import type { StoredTensor, WeightSource } from "../weights.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import { familySharing } from "./gguf-names.ts";
import { embeddingOf, poolingFromGguf } from "./gguf-pooling.ts";
import type { GgufValue } from "./gguf-types.ts";
import { layerTypesFromGguf, slidingPatternToGguf, slidingWindowFromGguf } from "./gguf-windows.ts";

type Part = Record<string, unknown>;

/** Returns an encoder's configuration values. parseModelConfig checks them. @throws HeddleError INVALID_FILE; UNSUPPORTED for a feature */
export function encoderFromGguf(source: WeightSource, meta: GgufMetadata, modelType: string, arch: string): Part {
  // llama.cpp treats a file without the key as causal.
  const causal = meta.boolean(`${arch}.attention.causal`);
  if (causal !== false)
    throw unsupported(source, `${arch}.attention.causal: expected false for an encoder, got ${describe(causal)}`);
  const layers = meta.requireNumber(`${arch}.block_count`);
  const hidden = meta.requireNumber(`${arch}.embedding_length`);
  const heads = meta.requireAlike(`${arch}.attention.head_count`, layers);
  const groups = meta.alike(`${arch}.attention.head_count_kv`, layers) ?? heads;
  if (groups !== heads)
    throw unsupported(source, `${arch}.attention.head_count_kv: grouped-query attention is not supported for ${arch}`);
  const { defaults, positions, windows } = formatOf(modelType);
  return {
    modelType,
    vocabSize: rowsOf(source, "token_embd.weight"),
    hiddenSize: hidden,
    intermediateSize: meta.alike(`${arch}.feed_forward_length`, layers),
    numHiddenLayers: layers,
    numAttentionHeads: heads,
    maxPositionEmbeddings: meta.requireNumber(`${arch}.context_length`),
    layerNormEpsilon: meta.requireReal(`${arch}.attention.layer_norm_epsilon`),
    padTokenId: meta.tokenId("tokenizer.ggml.padding_token_id") ?? null,
    ...(defaults.typeVocabSize !== undefined && segments(source, meta, arch)),
    ...(!positions && rotation(source, meta, arch, hidden / heads)),
    ...(windows.kind !== "none" && {
      ...windowsAndActivation(source, meta, modelType, arch, layers),
      attentionBias: source.has("blk.0.attn_qkv.bias"),
      mlpBias: source.has("blk.0.ffn_up.bias"),
    }),
    ...classifierOf(source, meta, modelType, arch),
  };
}

function unsupported({ path }: WeightSource, message: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${path}: ${message}`);
}

function rowsOf(source: WeightSource, name: string): number | undefined {
  return source.has(name) ? source.info(name).shape[0] : undefined;
}

/** Reads the number of token types (BERT's segments), which llama.cpp stores among the tokenizer's keys. */
function segments(source: WeightSource, meta: GgufMetadata, arch: string): Part {
  const rows = rowsOf(source, "token_types.weight");
  const count = meta.number("tokenizer.ggml.token_type_count");
  if (rows !== undefined) return { typeVocabSize: count ?? rows };
  // DistilBERT's files have BERT's architecture name. They declare one token type, without a table of embeddings.
  const without = familySharing(arch, "no segments");
  if (without !== undefined && (count ?? 1) === 1) return { modelType: without };
  throw new HeddleError(
    "INVALID_FILE",
    `${source.path}: expected token_types.weight${count === undefined ? "" : ` for ${count} token types`}, got none`,
  );
}

function rotation(source: WeightSource, meta: GgufMetadata, arch: string, headDim: number): Part {
  const scaling = meta.string(`${arch}.rope.scaling.type`);
  if (scaling !== undefined && scaling !== "none")
    throw unsupported(source, `${arch}.rope.scaling.type: ${describe(scaling)} is not supported for ${arch}`);
  // As in llama.cpp, a factor without a type means linear scaling, and a factor of 0 means no scaling.
  const key = ["rope.scaling.factor", "rope.scale_linear"].find((name) => meta.has(`${arch}.${name}`));
  const factor = (scaling !== "none" && key !== undefined && meta.real(`${arch}.${key}`)) || 1;
  if (factor !== 1) throw unsupported(source, `${arch}.${key}: ${factor} is not supported for ${arch}`);
  const rotary = meta.number(`${arch}.rope.dimension_count`) ?? headDim;
  if (rotary !== headDim)
    throw unsupported(
      source,
      `${arch}.rope.dimension_count: partial rotation (${rotary} of ${headDim} dimensions) is not supported for ${arch}`,
    );
  const table = ["rope_freqs", "rope_factors_long", "rope_factors_short"].find((name) => source.has(`${name}.weight`));
  if (table !== undefined) throw unsupported(source, `tensor "${table}.weight" is not supported for ${arch}`);
  return { ropeTheta: thetaOf(meta, arch) };
}

function thetaOf(meta: GgufMetadata, arch: string): number {
  return meta.real(`${arch}.rope.freq_base`) ?? 10000;
}

function windowsAndActivation(
  source: WeightSource,
  meta: GgufMetadata,
  modelType: string,
  arch: string,
  layers: number,
): Part {
  const activation = meta.string(`${arch}.hidden_activation`) ?? formatOf(modelType).defaults.hiddenAct;
  if (!isActivation(activation))
    throw unsupported(source, `${arch}.hidden_activation: ${describe(activation)} is not supported`);
  const window = slidingWindowFromGguf(meta, arch);
  return {
    ropeLocalTheta: meta.real(`${arch}.rope.freq_base_swa`) ?? thetaOf(meta, arch),
    slidingWindow: window,
    ...layerTypesFromGguf(meta, { modelType, arch, layers, window }),
    hiddenAct: ACTIVATIONS[activation],
  };
}

/** Returns the classification head of a reranker's file. For other files, returns the pooling. */
function classifierOf(source: WeightSource, meta: GgufMetadata, modelType: string, arch: string): Part {
  const rows = rowsOf(source, "cls.output.weight");
  const declared = poolingFromGguf(meta, arch);
  // Older rerankers' files have a head but no pooling_type.
  const pooling = declared ?? (rows !== undefined && source.has("cls.weight") ? "rank" : undefined);
  if (pooling !== "rank") return embeddingOf(pooling);
  const classifier = formatOf(modelType).gguf?.classifier;
  if (!classifier)
    throw unsupported(source, `${arch}.pooling_type: rank (a reranker's head) is not supported for ${arch}`);
  if (formatOf(modelType).positions && !source.has("token_types.weight"))
    throw unsupported(
      source,
      `${arch}.pooling_type: rank is not supported for DistilBERT, because llama.cpp computes its head with another activation`,
    );
  if (rows === undefined || !source.has("cls.weight")) {
    // llama.cpp's converter omits BERT's pooler (`cls.weight`). Without the pooler, the classifier's input would be wrong.
    const missing = rows === undefined ? "cls.output.weight" : "cls.weight";
    throw unsupported(source, `${arch}.pooling_type: rank without ${missing} is not supported`);
  }
  const named = meta.strings(`${arch}.classifier.output_labels`);
  return {
    classifier: {
      task: "sequence",
      // One label more than the schema's limit, so that the schema refuses a larger head.
      labels: named ?? Array.from({ length: Math.min(rows, 65537) }, (_, i) => `LABEL_${i}`),
      pooling: classifier.pooling,
    },
  };
}

/** Adds zero biases to a reranker's head if the file has none. In llama.cpp these biases are optional. */
export function withHeadBiases(weights: WeightSource, { modelType, classifier }: ModelConfig): WeightSource {
  if (!classifier) return weights;
  const zeros = new Map<string, StoredTensor>();
  for (const head of formatOf(modelType).gguf?.classifier?.biases ?? []) {
    const name = `${head}.bias`;
    if (weights.has(name) || !weights.has(`${head}.weight`)) continue;
    const { file, offset, shape } = weights.tensor(`${head}.weight`);
    const [rows = 0] = shape;
    const bytes = 4 * rows;
    const sources = () => [elementsIn(new Uint8Array(bytes))];
    zeros.set(name, { name, storedDtype: "F32", dtype: "f32", shape: [rows], bytes, file, offset, sources });
  }
  if (zeros.size === 0) return weights;
  return {
    ...weights,
    names: () => [...weights.names(), ...zeros.keys()],
    has: (name) => zeros.has(name) || weights.has(name),
    info: (name) => zeros.get(name) ?? weights.info(name),
    tensor: (name) => zeros.get(name) ?? weights.tensor(name),
  };
}

/** Adds encoder-specific keys. @throws HeddleError UNSUPPORTED for a head that GGUF cannot hold */
export function encoderToGguf(config: ModelConfig, meta: Map<string, GgufValue>): void {
  const { modelType, classifier } = config;
  const { gguf, positions, windows } = formatOf(modelType);
  const arch = gguf!.architecture;
  const refuse = (what: string) => {
    throw new HeddleError("UNSUPPORTED", `${modelType}: ${what} cannot be stored in GGUF files of ${arch}`);
  };
  if (classifier?.task === "token") refuse("a token classification head");
  if (config.valueHead) refuse("a value head");
  if (classifier && !gguf!.classifier) refuse("a classification head");
  meta.set(`${arch}.attention.causal`, { type: "bool", value: false });
  meta.set(`${arch}.attention.layer_norm_epsilon`, { type: "f32", value: config.layerNormEpsilon });
  if (classifier)
    meta.set(`${arch}.classifier.output_labels`, { type: "array", of: "string", value: classifier.labels });
  const kinds = config.typeVocabSize ?? (positions ? 1 : undefined);
  if (kinds !== undefined) meta.set("tokenizer.ggml.token_type_count", { type: "u32", value: kinds });
  if (positions) return;
  meta.set(`${arch}.rope.freq_base`, { type: "f32", value: config.ropeTheta });
  if (windows.kind === "none") return;
  meta.set(`${arch}.hidden_activation`, { type: "string", value: config.hiddenAct });
  meta.set(`${arch}.rope.freq_base_swa`, { type: "f32", value: config.ropeLocalTheta ?? config.ropeTheta });
  meta.set(`${arch}.rope.scaling.type`, { type: "string", value: "none" });
  if (config.slidingWindow !== null)
    meta.set(`${arch}.attention.sliding_window`, { type: "u32", value: config.slidingWindow });
  const pattern = slidingPatternToGguf(config);
  if (pattern) meta.set(`${arch}.attention.sliding_window_pattern`, pattern);
}
