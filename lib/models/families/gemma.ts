import type { ModelConfig } from "../../formats/config/config.ts";
import type { GgufSizes } from "../../formats/config/family-format.ts";
import { yarnAttentionFactor } from "../../formats/config/rope-scaling.ts";
import { EMBEDDING_LAYERS } from "../../formats/sentence-transformers/names.ts";
import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

// The first published config.json files have "gelu" as `hidden_act`, although the models use the tanh form. So
// `hidden_activation` takes precedence (transformers, GemmaMLP).
const activationKey = "hidden_activation";
const defaults = { hiddenAct: "gelu_pytorch_tanh", tieWordEmbeddings: true } as const;
const fileDefaults = { headDim: 256, queryPreAttnScalar: 256 };
const softcaps = {
  query_pre_attn_scalar: "queryPreAttnScalar",
  attn_logit_softcapping: "attnLogitSoftcapping",
  final_logit_softcapping: "finalLogitSoftcapping",
} as const;
const derive = ({ hiddenSize, headDim }: { hiddenSize: number; headDim: number }) => ({
  intermediateSize: 4 * hiddenSize,
  queryPreAttnScalar: headDim,
});

const withoutBiases = { attentionBias: false, mlpBias: false };
const sandwich = {
  "model.layers.{layer}.post_attention_layernorm": "blk.{layer}.post_attention_norm",
  "model.layers.{layer}.post_feedforward_layernorm": "blk.{layer}.post_ffw_norm",
  "model.layers.{layer}.pre_feedforward_layernorm": "blk.{layer}.ffn_norm",
};
/**
 * llama.cpp divides queries by √n. Returns n: head_dim, or hidden_size / heads for the 27B models, which llama.cpp
 * recognizes by their number of layers.
 */
const scalar = ({ hiddenSize, numHiddenLayers, numAttentionHeads, headDim }: GgufSizes, layersOf27B: number) =>
  numHiddenLayers === layersOf27B ? hiddenSize / numAttentionHeads : headDim;
const scaledOtherwise = ({ queryPreAttnScalar, headDim }: ModelConfig) =>
  queryPreAttnScalar === headDim
    ? []
    : ["llama.cpp scales queries by head_dim, not by query_pre_attn_scalar, except in 27B models"];

const scaled = ({ hiddenSize }: { hiddenSize: number }) => ({ embeddingScale: Math.sqrt(hiddenSize) });
/** Soft caps and the scale of queries, which Gemma 1 does not have. */
const capped = (config: ModelConfig) => ({
  ...scaled(config),
  attentionScale: (config.queryPreAttnScalar ?? config.headDim) ** -0.5,
  ...(config.attnLogitSoftcapping && { attentionSoftcap: config.attnLogitSoftcapping }),
});
const logits = ({ finalLogitSoftcapping: softcap }: { finalLogitSoftcapping?: number | null | undefined }) =>
  softcap ? { softcap } : {};

/** Gemma 1 (Gemma Team 2024): embeddings times √width, norm weights as offsets from one, GeGLU, and a tied head. */
export const gemma: FamilyDefinition = {
  modelType: "gemma",
  architecture: "GemmaForCausalLM",
  activationKey,
  defaults: { ...defaults, maxPositionEmbeddings: 8192 },
  fileDefaults: { headDim: 256 },
  derive: ({ hiddenSize }) => ({ intermediateSize: 4 * hiddenSize }),
  bidirectional: { key: "use_bidirectional_attention" },
  gguf: { architecture: "gemma", layout: "norm", llamaCpp: withoutBiases },
  ...decoderFamily({ flags: { normOffset: 1 }, shape: scaled }),
};

// Facts that VaultGemma shares with Gemma 2.
const likeGemma2 = {
  activationKey,
  defaults: { ...defaults, maxPositionEmbeddings: 8192, attnLogitSoftcapping: 50, finalLogitSoftcapping: 30 },
  fileDefaults,
  derive,
  keys: softcaps,
  windows: { kind: "pattern", period: 2, otherwise: 4096 },
} as const satisfies Partial<FamilyDefinition>;

/** Gemma 2 (Gemma Team 2024): norms around each block, soft caps, and a sliding window in every second layer. */
export const gemma2: FamilyDefinition = {
  ...likeGemma2,
  modelType: "gemma2",
  architecture: "Gemma2ForCausalLM",
  gguf: {
    architecture: "gemma2",
    layout: "norm",
    names: sandwich,
    keys: { attn_logit_softcapping: "attnLogitSoftcapping", final_logit_softcapping: "finalLogitSoftcapping" },
    defaults: (sizes) => ({
      queryPreAttnScalar: scalar(sizes, 46),
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: 30,
      slidingWindow: 4096,
    }),
    llamaCpp: {
      ...withoutBiases,
      windows: true,
      differences: (config) => [
        ...(config.slidingWindow === null
          ? ["llama.cpp uses a sliding window of 4096 in every second layer, and the model has none"]
          : []),
        ...scaledOtherwise(config),
        ...(config.attnLogitSoftcapping
          ? []
          : ["llama.cpp uses a soft cap of 50 for attention scores, which the model lacks"]),
        ...(config.finalLogitSoftcapping ? [] : ["llama.cpp uses a soft cap of 30 for logits, which the model lacks"]),
      ],
    },
  },
  ...decoderFamily({ flags: { normOffset: 1, norms: "around" }, shape: capped, logits }),
};

/**
 * The language model of Gemma 3 (Gemma Team 2025), and EmbeddingGemma: norms of the heads of q and k, and five sliding-window layers for each layer with full
 * attention. RoPE has a smaller θ in the sliding-window layers. EmbeddingGemma (Schechter Vera et al. 2025) is the same with
 * bidirectional attention.
 */
export const gemma3: FamilyDefinition = {
  modelType: "gemma3_text",
  architecture: "Gemma3ForCausalLM",
  activationKey,
  defaults: {
    ...defaults,
    ropeTheta: 1e6,
    ropeLocalTheta: 1e4,
    maxPositionEmbeddings: 131072,
    attnLogitSoftcapping: null,
    finalLogitSoftcapping: null,
  },
  fileDefaults,
  derive,
  keys: { ...softcaps, rope_local_base_freq: "ropeLocalTheta" },
  windows: { kind: "pattern", period: 6, otherwise: 4096 },
  bidirectional: { key: "use_bidirectional_attention", gguf: "gemma-embedding", windows: true },
  partOf: {
    modelType: "gemma3",
    defaults: {
      vocab_size: 262208,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_hidden_layers: 26,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      bos_token_id: 2,
      eos_token_id: 1,
      pad_token_id: 0,
    },
  },
  gguf: {
    architecture: "gemma3",
    layout: "norm",
    names: {
      ...sandwich,
      // Dense layers after pooling, which only EmbeddingGemma's files have.
      [`${EMBEDDING_LAYERS}0`]: "dense_2",
      [`${EMBEDDING_LAYERS}1`]: "dense_3",
    },
    keys: { "rope.freq_base_swa": "ropeLocalTheta" },
    defaults: (sizes) => ({ queryPreAttnScalar: scalar(sizes, 62), ropeLocalTheta: 1e4 }),
    llamaCpp: {
      ...withoutBiases,
      windows: true,
      differences(config) {
        const { ropeScaling: scaling, slidingWindow, layerTypes } = config;
        const slides = slidingWindow !== null && layerTypes.includes("sliding_attention");
        const usual = (factor: number) => yarnAttentionFactor({ ropeType: "yarn", factor });
        const unusual = scaling?.ropeType === "yarn" && yarnAttentionFactor(scaling) !== usual(scaling.factor);
        return [
          ...(unusual && slides && !config.useBidirectionalAttention
            ? ["llama.cpp applies YaRN's attention factor to sliding layers too"]
            : []),
          ...scaledOtherwise(config),
          ...(config.attnLogitSoftcapping || config.finalLogitSoftcapping
            ? ["llama.cpp ignores the model's soft caps"]
            : []),
        ];
      },
    },
  },
  ...decoderFamily({ flags: { normOffset: 1, norms: "around", queryNorm: "head" }, shape: capped, logits }),
};

/**
 * VaultGemma (Google 2025): Gemma 2 without norms after the blocks. It was trained with differential privacy. In the released 1B
 * model, no layer has a sliding window. No GGUF architecture describes the family.
 */
export const vaultgemma: FamilyDefinition = {
  ...likeGemma2,
  modelType: "vaultgemma",
  architecture: "VaultGemmaForCausalLM",
  ...decoderFamily({
    flags: { normOffset: 1, names: { beforeMlp: "pre_feedforward_layernorm" } },
    shape: capped,
    logits,
  }),
};
