// Converts GGUF metadata to a model configuration, with the keys that llama.cpp reads and writes.
import { describe, HeddleError } from "../../core/errors.ts";
import { parseJson } from "../../io/json.ts";
import { encoderFromGguf } from "../gguf/gguf-encoder.ts";
import type { GgufMetadata } from "../gguf/gguf-metadata.ts";
import { familyOfArchitecture, familySharing, isBidirectional } from "../gguf/gguf-names.ts";
import { embeddingOf, layeredEmbedding, poolingFromGguf } from "../gguf/gguf-pooling.ts";
import { ropeScalingFromGguf } from "../gguf/gguf-rope.ts";
import { layerTypesFromGguf, slidingWindowFromGguf } from "../gguf/gguf-windows.ts";
import type { WeightSource } from "../weights.ts";
import { type ModelConfig, parseModelConfig } from "./config.ts";
import { SAID_ELSEWHERE, STORED_VALUES } from "./config-to-gguf.ts";
import { formatOf, isModelType, isRegistered, saysRotated } from "./families.ts";
import type { FamilyFormat, GgufSizes } from "./family-format.ts";
import { describeUnknown } from "./missing-features.ts";

/** Returns the configuration of an open GGUF file. Errors: INVALID_FILE, UNSUPPORTED (architecture, feature). */
export function modelConfigFromGguf(source: WeightSource): ModelConfig {
  const meta = source.gguf;
  if (!meta) throw new HeddleError("INTERNAL", `${source.path}: expected a GGUF file`);
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${source.path}: ${message}`);
  const arch = meta.requireString("general.architecture");
  const family = familyOfArchitecture(arch);
  if (family === undefined) {
    const keys = [...meta.values.keys()].filter((key) => key.startsWith(`${arch}.`));
    const what = describeUnknown({
      name: arch,
      value: (key) => meta.values.get(`${arch}.${key}`)?.value,
      keys: keys.map((key) => key.slice(arch.length + 1)),
    });
    throw unsupported(`general.architecture ${describe(arch)} is not supported (${what})`);
  }
  const experts = meta.number(`${arch}.expert_count`) || undefined;
  const sparse = [family, familySharing(arch, "experts")].some(
    (type) => type !== undefined && (formatOf(type).experts ?? formatOf(type).defaults.numExperts) !== undefined,
  );
  if (experts !== undefined && !sparse) throw unsupported(`mixture of experts is not supported for ${arch}`);

  if (formatOf(family).encoder) {
    const encoder = encoderFromGguf(source, meta, family, arch);
    return parseModelConfig(
      { ...encoder, dtype: matrixDtype(source), ...storedValues(meta, family, source.path) },
      source.path,
    );
  }
  const bidirectional = readsBidirectional(meta, family, arch);
  if (bidirectional === "unknown")
    throw unsupported(`${arch}.attention.causal: bidirectional attention (of an embedding model) is not supported`);

  const pooling = poolingFromGguf(meta, arch);
  if (pooling === "rank")
    throw unsupported(`${arch}.pooling_type: rank (a reranker's head) is not supported for ${arch}`);

  const hidden = meta.requireNumber(`${arch}.embedding_length`);
  const layers = meta.requireNumber(`${arch}.block_count`);
  const heads = meta.requireAlike(`${arch}.attention.head_count`, layers);
  const headDim = meta.number(`${arch}.attention.key_length`) ?? hidden / heads;
  const sizes = { hiddenSize: hidden, numHiddenLayers: layers, numAttentionHeads: heads, headDim };
  const window = slidingWindowFromGguf(meta, arch, formatOf(family).gguf?.defaults?.(sizes).slidingWindow);
  const modelType = sharingArchitecture(meta, family, { window, experts });
  const format = formatOf(modelType);
  const { defaults, gguf, positions } = format;
  const valueDim = meta.number(`${arch}.attention.value_length`) ?? headDim;
  if (valueDim !== headDim)
    throw unsupported(`value heads of size ${valueDim} with key heads of size ${headDim} are not supported`);
  const rotary = positions ? headDim : (meta.number(`${arch}.rope.dimension_count`) ?? headDim);
  if (rotary > headDim || (rotary < headDim && gguf?.layout === "rope"))
    throw unsupported(`rotation of ${rotary} of ${headDim} dimensions is not supported`);
  // This key marks a vision-language model (GLM-4V). The rows of its q and k also have another order.
  if (meta.numbers(`${arch}.rope.dimension_sections`)?.some((count) => Number(count) > 0))
    throw unsupported(`${arch}.rope.dimension_sections: positions in images (M-RoPE) are not supported`);
  const theta = meta.real(`${arch}.rope.freq_base`) ?? 10000;

  const tokens = meta.count("tokenizer.ggml.tokens");
  const eos = ["eos_token_id", "eot_token_id", "eom_token_id"].map((key) => meta.tokenId(`tokenizer.ggml.${key}`));
  return parseModelConfig(
    {
      modelType,
      vocabSize: vocabSize(source) ?? meta.number(`${arch}.vocab_size`) ?? tokens,
      hiddenSize: hidden,
      intermediateSize:
        meta.alike(`${arch}.feed_forward_length`, layers) ?? meta.requireNumber(`${arch}.expert_feed_forward_length`),
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      numKeyValueHeads: meta.alike(`${arch}.attention.head_count_kv`, layers) ?? heads,
      headDim,
      maxPositionEmbeddings: meta.requireNumber(`${arch}.context_length`),
      ...epsilons(meta, modelType, arch),
      ropeTheta: theta,
      ropeScaling: positions ? null : ropeScalingFromGguf(source, meta, { arch, rotary, theta, yarn: gguf?.yarn }),
      ...((rotary !== headDim || saysRotated(modelType)) && {
        partialRotaryFactor: rotary / headDim,
      }),
      slidingWindow: window,
      ...layerTypesFromGguf(meta, { modelType, arch, layers, window }),
      tieWordEmbeddings: !source.has("output.weight"),
      attentionBias: ["attn_q", "attn_qkv"].some((name) => source.has(`blk.0.${name}.bias`)),
      mlpBias: !format.ungated && source.has("blk.0.ffn_up.bias"),
      hiddenAct: defaults.hiddenAct,
      bosTokenId: meta.tokenId("tokenizer.ggml.bos_token_id") ?? null,
      eosTokenIds: [...new Set(eos.filter((id) => id !== undefined))],
      padTokenId: meta.tokenId("tokenizer.ggml.padding_token_id") ?? null,
      dtype: matrixDtype(source),
      ...(bidirectional && { useBidirectionalAttention: true }),
      ...layeredEmbedding(source, arch, embeddingOf(pooling).embedding),
      ...localTheta(meta, modelType, arch, theta),
      ...familyValues(format, meta, arch, sizes),
      ...gguf?.byTensors?.((name) => source.has(name)),
      ...expertValues(meta, modelType, arch),
      ...storedValues(meta, modelType, source.path),
    },
    source.path,
  );
}

/**
 * Whether a decoder's file declares bidirectional attention. llama.cpp assumes it for architectures that only
 * bidirectional models have. Returns "unknown" if the file declares it but the family does not support it.
 */
function readsBidirectional(meta: GgufMetadata, family: string, arch: string): boolean | "unknown" {
  if (isBidirectional(arch)) return true;
  if (meta.boolean(`${arch}.attention.causal`) !== false) return false;
  const { bidirectional } = formatOf(family);
  return bidirectional && bidirectional.gguf === undefined ? true : "unknown";
}

/** Reads the epsilon of norms. A registered family may have LayerNorm or RMSNorm. */
function epsilons(meta: GgufMetadata, modelType: string, arch: string): Partial<ModelConfig> {
  const [layer, rms] = [`${arch}.attention.layer_norm_epsilon`, `${arch}.attention.layer_norm_rms_epsilon`] as const;
  if (formatOf(modelType).layerNorm) return { layerNormEpsilon: meta.requireReal(layer) };
  if (!isRegistered(modelType)) return { rmsNormEps: meta.requireReal(rms) };
  const [ofLayer, ofRms] = [meta.real(layer), meta.real(rms)];
  return {
    ...(ofLayer !== undefined && { layerNormEpsilon: ofLayer }),
    ...(ofRms !== undefined && { rmsNormEps: ofRms }),
  };
}

/** Reads θ of the sliding layers, if the file has a separate key for it. */
function localTheta(meta: GgufMetadata, modelType: string, arch: string, theta: number): Partial<ModelConfig> {
  const local = formatOf(modelType).windows.kind === "pattern" ? meta.real(`${arch}.rope.freq_base_swa`) : undefined;
  return local === undefined || local === theta ? {} : { ropeLocalTheta: local };
}

/** Returns values of the family's keys, and llama.cpp's defaults. A number of 0 means "not set", as in llama.cpp. */
function familyValues(
  { gguf }: FamilyFormat,
  meta: GgufMetadata,
  arch: string,
  sizes: GgufSizes,
): Record<string, unknown> {
  const { slidingWindow: _, ...defaults } = gguf?.defaults?.(sizes) ?? {};
  const values: Record<string, unknown> = { ...defaults };
  const custom: Record<string, unknown> = {};
  for (const [key, name] of Object.entries(gguf?.keys ?? {})) {
    const where = `${arch}.${key}`;
    const declared = meta.values.get(where)?.type === "bool" ? meta.boolean(where) : meta.real(where) || undefined;
    if (!name.startsWith("custom.")) values[name] = declared ?? values[name] ?? meta.requireReal(where);
    else if (declared !== undefined) custom[name.slice("custom.".length)] = declared;
  }
  return Object.keys(custom).length === 0 ? values : { ...values, custom };
}

/** Returns values of a family with routed experts. */
function expertValues(meta: GgufMetadata, modelType: string, arch: string): Partial<ModelConfig> {
  const { experts, keys = {} } = formatOf(modelType);
  if (!experts) return {};
  const numExpertsPerTok = meta.requireNumber(`${arch}.expert_used_count`);
  // Older files have no expert_feed_forward_length. Their feed_forward_length is the width of one expert, or in Qwen's
  // files the total width of the experts that a token uses.
  const block = meta.number(`${arch}.feed_forward_length`);
  const shared = block !== undefined && block % numExpertsPerTok === 0 ? block / numExpertsPerTok : undefined;
  const declared = experts.width === "intermediateSize" ? block : shared;
  return {
    numExperts: meta.requireNumber(`${arch}.expert_count`),
    numExpertsPerTok,
    [experts.width]:
      meta.number(`${arch}.expert_feed_forward_length`) ??
      declared ??
      meta.requireNumber(`${arch}.expert_feed_forward_length`),
    // llama.cpp's default for the shared expert's width is that of a dense block.
    ...(experts.shared && {
      sharedExpertIntermediateSize:
        meta.number(`${arch}.expert_shared_feed_forward_length`) ?? meta.requireNumber(`${arch}.feed_forward_length`),
    }),
    ...(Object.values(keys).includes("normTopkProb") && { normTopkProb: experts.normalizedInGguf }),
  };
}

/** Returns the values that heddle stored as JSON under `heddle.config`, because no GGUF key holds them. */
function storedValues(meta: GgufMetadata, modelType: string, path: string): Record<string, unknown> {
  const stored = meta.string("heddle.config");
  if (stored === undefined) return {};
  const parsed = parseJson(Buffer.from(stored), `${path}: heddle.config`);
  if (typeof parsed !== "object" || parsed === null) return {};
  const registered = isRegistered(modelType);
  const taken = (key: string) => (registered ? !SAID_ELSEWHERE.includes(key) : STORED_VALUES.includes(key));
  return Object.fromEntries(Object.entries(parsed).filter(([key]) => taken(key)));
}

/** Returns the family of a file. Several families may share its architecture. */
function sharingArchitecture(
  meta: GgufMetadata,
  family: string,
  { window, experts }: { window: number | null; experts: number | undefined },
): string {
  const declared = meta.string("heddle.model_type");
  const architecture = formatOf(family).gguf?.architecture;
  if (declared !== undefined && isModelType(declared) && formatOf(declared).gguf?.architecture === architecture)
    return declared;
  const sharing = (what: "windows" | "experts") => architecture && familySharing(architecture, what);
  return (experts !== undefined && sharing("experts")) || (window !== null && sharing("windows")) || family;
}

function vocabSize(source: WeightSource): number | undefined {
  return source.has("token_embd.weight") ? source.info("token_embd.weight").shape[0] : undefined;
}

/**
 * Returns the element type of the matrices. It is that of the first layer's q or qkv matrix, or else of the embedding,
 * whichever is not quantized. Returns null if all are quantized. Norms are ignored, because they are F32 in any file.
 */
function matrixDtype(source: WeightSource): ModelConfig["dtype"] {
  for (const name of ["blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "token_embd.weight"]) {
    const dtype = source.has(name) ? source.info(name).dtype : undefined;
    if (dtype === "f32" || dtype === "f16" || dtype === "bf16") return dtype;
  }
  return null;
}
