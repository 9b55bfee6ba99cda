// GGUF metadata → model configuration (keys as llama.cpp reads and writes them).
import { describe, HeddleError } from "../../core/errors.ts";
import { parseJson } from "../../io/json.ts";
import { encoderFromGguf } from "../gguf/gguf-encoder.ts";
import type { GgufMetadata } from "../gguf/gguf-metadata.ts";
import { familyOfArchitecture, isBothWays, pairsNeighbours } from "../gguf/gguf-names.ts";
import { embeddingOf, layeredEmbedding, poolingFromGguf } from "../gguf/gguf-pooling.ts";
import { ropeScalingFromGguf } from "../gguf/gguf-rope.ts";
import { layerTypesFromGguf, slidingWindowFromGguf } from "../gguf/gguf-windows.ts";
import type { WeightSource } from "../weights.ts";
import { type ModelConfig, type ModelType, parseModelConfig } from "./config.ts";
import { OWN_VALUES, SAID_ELSEWHERE } from "./config-to-gguf.ts";
import { formatOf, isModelType, isRegistered, saysRotated } from "./families.ts";
import { describeUnknown } from "./missing-features.ts";

/** The configuration of an open GGUF file. Errors: INVALID_FILE, UNSUPPORTED (architecture, feature). */
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
    throw unsupported(`general.architecture ${describe(arch)} is not provided (${what})`);
  }
  const experts = meta.number(`${arch}.expert_count`) || undefined;
  const sparse = [family, WITH_EXPERTS[family]].some(
    (type) => type !== undefined && (formatOf(type).experts ?? formatOf(type).defaults.numExperts) !== undefined,
  );
  if (experts !== undefined && !sparse) throw unsupported(`mixture of experts is not provided for ${arch}`);

  if (formatOf(family).encoder) {
    const said = encoderFromGguf(source, meta, family, arch);
    return parseModelConfig(
      { ...said, dtype: matrixDtype(source), ...ownValues(meta, family, source.path) },
      source.path,
    );
  }
  const bothWays = readsBothWays(meta, family, arch);
  if (bothWays === "unknown")
    throw unsupported(`${arch}.attention.causal: bidirectional attention (of an embedding model) is not supported`);

  const pooling = poolingFromGguf(meta, arch);
  if (pooling === "rank")
    throw unsupported(`${arch}.pooling_type: rank (a reranker's head) is not provided for ${arch}`);

  const window = slidingWindowFromGguf(meta, family, arch);
  const modelType = sharingArchitecture(meta, family, { window, experts });
  const hidden = meta.requireNumber(`${arch}.embedding_length`);
  const layers = meta.requireNumber(`${arch}.block_count`);
  const heads = meta.requireAlike(`${arch}.attention.head_count`, layers);
  const headDim = meta.number(`${arch}.attention.key_length`) ?? hidden / heads;
  const valueDim = meta.number(`${arch}.attention.value_length`) ?? headDim;
  if (valueDim !== headDim)
    throw unsupported(`value heads of size ${valueDim} with key heads of size ${headDim} are not supported`);
  const rotary = modelType === "gpt2" ? headDim : (meta.number(`${arch}.rope.dimension_count`) ?? headDim);
  if (rotary > headDim || (rotary < headDim && pairsNeighbours(modelType)))
    throw unsupported(`rotation of ${rotary} of ${headDim} dimensions is not provided`);
  // A language model that sees pictures (GLM-4V): its rows of q and k have another order then, as well.
  if (meta.numbers(`${arch}.rope.dimension_sections`)?.some((count) => Number(count) > 0))
    throw unsupported(`${arch}.rope.dimension_sections: positions within pictures (M-RoPE) are not provided`);
  const theta = meta.real(`${arch}.rope.freq_base`) ?? 10000;
  const { defaults } = formatOf(modelType);

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
      ropeScaling: modelType === "gpt2" ? null : ropeScalingFromGguf(source, meta, { arch, rotary, theta }),
      ...((rotary !== headDim || saysRotated(modelType)) && {
        partialRotaryFactor: rotary / headDim,
      }),
      slidingWindow: window,
      ...layerTypesFromGguf(meta, { modelType, arch, layers, window }),
      tieWordEmbeddings: !source.has("output.weight"),
      attentionBias:
        !ALWAYS_BIASED.has(modelType) && ["attn_q", "attn_qkv"].some((name) => source.has(`blk.0.${name}.bias`)),
      mlpBias: !formatOf(modelType).ungated && source.has("blk.0.ffn_up.bias"),
      ...(defaults.useQkNorm !== undefined && { useQkNorm: source.has("blk.0.attn_q_norm.weight") }),
      hiddenAct: defaults.hiddenAct,
      bosTokenId: meta.tokenId("tokenizer.ggml.bos_token_id") ?? null,
      eosTokenIds: [...new Set(eos.filter((id) => id !== undefined))],
      padTokenId: meta.tokenId("tokenizer.ggml.padding_token_id") ?? null,
      dtype: matrixDtype(source),
      ...(bothWays && { useBidirectionalAttention: true }),
      ...layeredEmbedding(source, arch, embeddingOf(pooling).embedding),
      ...localTheta(meta, modelType, arch, theta),
      ...familyValues(meta, modelType, arch, { hidden, heads, layers, headDim }),
      ...expertValues(meta, modelType, arch),
      ...ownValues(meta, modelType, source.path),
    },
    source.path,
  );
}

/** Whether a decoder's file is of a model that attends both ways; llama.cpp takes it for granted of architectures that are of such models alone. */
function readsBothWays(meta: GgufMetadata, family: ModelType, arch: string): boolean | "unknown" {
  if (isBothWays(arch)) return true;
  if (meta.boolean(`${arch}.attention.causal`) !== false) return false;
  const { bothWays } = formatOf(family);
  return bothWays && bothWays.gguf === undefined ? true : "unknown";
}

/** Families whose biases of attention no value of the configuration says. */
const ALWAYS_BIASED = new Set<ModelType>(["qwen2", "qwen2_moe", "gpt2"]);

/** The epsilon of norms. A registered family may have either kind. */
function epsilons(meta: GgufMetadata, modelType: ModelType, arch: string): Partial<ModelConfig> {
  const [layer, rms] = [`${arch}.attention.layer_norm_epsilon`, `${arch}.attention.layer_norm_rms_epsilon`] as const;
  if (modelType === "gpt2" || formatOf(modelType).layerNorm) return { layerNormEpsilon: meta.requireReal(layer) };
  if (!isRegistered(modelType)) return { rmsNormEps: meta.requireReal(rms) };
  const [ofLayer, ofRms] = [meta.real(layer), meta.real(rms)];
  return {
    ...(ofLayer !== undefined && { layerNormEpsilon: ofLayer }),
    ...(ofRms !== undefined && { rmsNormEps: ofRms }),
  };
}

/** θ of the sliding layers, where a file gives them another than the rest. */
function localTheta(meta: GgufMetadata, modelType: ModelType, arch: string, theta: number): Partial<ModelConfig> {
  const local = formatOf(modelType).windows.kind === "pattern" ? meta.real(`${arch}.rope.freq_base_swa`) : undefined;
  return local === undefined || local === theta ? {} : { ropeLocalTheta: local };
}

/** Values under family-specific keys, and llama.cpp's defaults. */
function familyValues(
  meta: GgufMetadata,
  modelType: ModelType,
  arch: string,
  sizes: { hidden: number; heads: number; layers: number; headDim: number },
): Partial<ModelConfig> {
  const { hidden, heads, layers, headDim } = sizes;
  const real = (key: string) => meta.real(`${arch}.${key}`);
  switch (modelType) {
    case "gemma2":
    case "gemma3_text": {
      // The 27B models, recognized by their depth, scale by hidden size / heads.
      const wide = layers === (modelType === "gemma2" ? 46 : 62);
      return {
        queryPreAttnScalar: wide ? hidden / heads : headDim,
        ...(modelType === "gemma2" && {
          attnLogitSoftcapping: real("attn_logit_softcapping") ?? 50,
          finalLogitSoftcapping: real("final_logit_softcapping") ?? 30,
        }),
        ...(modelType === "gemma3_text" && { ropeLocalTheta: real("rope.freq_base_swa") ?? 1e4 }),
      };
    }
    case "granite":
    case "granitemoehybrid":
    case "granitemoe":
      return {
        embeddingMultiplier: real("embedding_scale") || 1,
        attentionMultiplier: real("attention.scale") || 1 / Math.sqrt(headDim),
        residualMultiplier: real("residual_scale") || 1,
        logitsScaling: real("logit_scale") || 1,
      };
    case "gpt_oss":
      return { attentionBias: true };
    case "cohere":
    case "cohere2":
      return { logitScale: meta.requireReal(`${arch}.logit_scale`) };
    case "gpt_neox":
      return { useParallelResidual: meta.boolean(`${arch}.use_parallel_residual`) ?? true };
    default:
      return {};
  }
}

/** Values of a family with routed experts. */
function expertValues(meta: GgufMetadata, modelType: ModelType, arch: string): Partial<ModelConfig> {
  const { experts, keys = {} } = formatOf(modelType);
  if (!experts) return {};
  const numExpertsPerTok = meta.requireNumber(`${arch}.expert_used_count`);
  // Older files have only the width of a block: that of one expert, or for Qwen of all experts that a token uses.
  const block = meta.number(`${arch}.feed_forward_length`);
  const shared = block !== undefined && block % numExpertsPerTok === 0 ? block / numExpertsPerTok : undefined;
  const said = experts.width === "intermediateSize" ? block : shared;
  return {
    numExperts: meta.requireNumber(`${arch}.expert_count`),
    numExpertsPerTok,
    [experts.width]:
      meta.number(`${arch}.expert_feed_forward_length`) ??
      said ??
      meta.requireNumber(`${arch}.expert_feed_forward_length`),
    // As llama.cpp reads it: as wide as a block for all tokens.
    ...(experts.shared && {
      sharedExpertIntermediateSize:
        meta.number(`${arch}.expert_shared_feed_forward_length`) ?? meta.requireNumber(`${arch}.feed_forward_length`),
    }),
    ...(Object.values(keys).includes("normTopkProb") && { normTopkProb: experts.normalisedInGguf }),
  };
}

function ownValues(meta: GgufMetadata, modelType: ModelType, path: string): Record<string, unknown> {
  const own = meta.string("heddle.config");
  if (own === undefined) return {};
  const parsed = parseJson(Buffer.from(own), `${path}: heddle.config`);
  if (typeof parsed !== "object" || parsed === null) return {};
  const registered = isRegistered(modelType);
  const taken = (key: string) => (registered ? !SAID_ELSEWHERE.includes(key) : OWN_VALUES.includes(key));
  return Object.fromEntries(Object.entries(parsed).filter(([key]) => taken(key)));
}

/** Families whose GGUF files bear the name of the first, and slide, or have experts, where those of the first do not. */
const WITH_WINDOWS: Partial<Record<ModelType, ModelType>> = { llama: "mistral", olmo2: "olmo3" };
const WITH_EXPERTS: Partial<Record<ModelType, ModelType>> = { llama: "mixtral" };

function sharingArchitecture(
  meta: GgufMetadata,
  family: ModelType,
  { window, experts }: { window: number | null; experts: number | undefined },
): ModelType {
  const said = meta.string("heddle.model_type");
  if (said !== undefined && isModelType(said) && formatOf(said).gguf === formatOf(family).gguf) return said;
  if (experts !== undefined && WITH_EXPERTS[family]) return WITH_EXPERTS[family];
  return (window !== null && WITH_WINDOWS[family]) || family;
}

function vocabSize(source: WeightSource): number | undefined {
  return source.has("token_embd.weight") ? source.info("token_embd.weight").shape[0] : undefined;
}

/** The type of the first layer's q matrix speaks for all matrices; norms are F32 in any file. */
function matrixDtype(source: WeightSource): ModelConfig["dtype"] {
  for (const name of ["blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "token_embd.weight"]) {
    const dtype = source.has(name) ? source.info(name).dtype : undefined;
    if (dtype === "f32" || dtype === "f16" || dtype === "bf16") return dtype;
  }
  return null;
}
