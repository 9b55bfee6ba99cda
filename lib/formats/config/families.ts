// The families and their file formats.
import { describe, HeddleError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import { BERT_KIN } from "./families/bert-kin.ts";
import { EXPERT_KIN } from "./families/expert-kin.ts";
import { GRANITE_KIN } from "./families/granite-kin.ts";
import { LAYER_NORM_DECODERS } from "./families/layer-norm-decoders.ts";
import type { FamilyFormat } from "./family-format.ts";

export const MODEL_TYPES = [
  "llama",
  "mistral",
  "qwen2",
  "qwen3",
  "qwen2_moe",
  "qwen3_moe",
  "mixtral",
  "olmoe",
  "gemma",
  "gemma2",
  "gemma3_text",
  "granite",
  "granitemoe",
  "granitemoehybrid",
  "olmo2",
  "olmo3",
  "exaone4",
  "hunyuan_v1_dense",
  "phi",
  "seed_oss",
  "phi3",
  "smollm3",
  "gpt_oss",
  "gpt_neox",
  "starcoder2",
  "glm",
  "glm4",
  "cohere",
  "cohere2",
  "ernie4_5",
  "bert",
  "modernbert",
  "nomic_bert",
  "roberta",
  "xlm-roberta",
  "camembert",
  "distilbert",
  "electra",
  "mpnet",
  "gpt2",
] as const;
/** The families that come with the package. @useDeclaredType */
export type BuiltInModelType = (typeof MODEL_TYPES)[number];
/** Which family a model is of, as `model_type` says it in config.json: one of these, or one that `registerFamily` has added. */
export type ModelType = BuiltInModelType | (string & {});

const llamaLike = { rmsNormEps: 1e-6, hiddenAct: "silu", ropeTheta: 1e4 } as const;
const gemmaLike = { rmsNormEps: 1e-6, hiddenAct: "gelu_pytorch_tanh", tieWordEmbeddings: true } as const;
const none = { kind: "none" } as const;
const glmLike = {
  defaults: { ...llamaLike, rmsNormEps: 1.5625e-7, maxPositionEmbeddings: 131072, attentionBias: true },
  fileDefaults: { headDim: 128, numKeyValueHeads: 2, partialRotaryFactor: 0.5 },
  windows: none,
} as const;
const softcaps = {
  query_pre_attn_scalar: "queryPreAttnScalar",
  attn_logit_softcapping: "attnLogitSoftcapping",
  final_logit_softcapping: "finalLogitSoftcapping",
} as const;

export const FAMILY_FORMATS: Readonly<Record<BuiltInModelType, FamilyFormat>> = {
  llama: {
    architecture: "LlamaForCausalLM",
    gguf: "llama",
    bothWays: { key: "is_causal" },
    defaults: { ...llamaLike, maxPositionEmbeddings: 2048 },
    windows: none,
  },
  mistral: {
    architecture: "MistralForCausalLM",
    gguf: "llama",
    bothWays: { key: "is_causal" },
    defaults: { ...llamaLike, maxPositionEmbeddings: 131072 },
    windows: { kind: "all", otherwise: 4096 },
  },
  qwen2: {
    architecture: "Qwen2ForCausalLM",
    gguf: "qwen2",
    bothWays: { key: "is_causal" },
    defaults: { ...llamaLike, maxPositionEmbeddings: 32768 },
    windows: { kind: "flag", from: "max_window_layers" },
  },
  qwen3: {
    architecture: "Qwen3ForCausalLM",
    gguf: "qwen3",
    bothWays: { key: "is_causal" },
    defaults: { ...llamaLike, maxPositionEmbeddings: 32768 },
    fileDefaults: { headDim: 128 },
    windows: { kind: "flag", from: "max_window_layers" },
  },
  gemma: {
    architecture: "GemmaForCausalLM",
    gguf: "gemma",
    bothWays: { key: "use_bidirectional_attention" },
    defaults: { ...gemmaLike, ropeTheta: 1e4, maxPositionEmbeddings: 8192 },
    fileDefaults: { headDim: 256 },
    windows: none,
  },
  gemma2: {
    architecture: "Gemma2ForCausalLM",
    gguf: "gemma2",
    defaults: {
      ...gemmaLike,
      ropeTheta: 1e4,
      maxPositionEmbeddings: 8192,
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: 30,
    },
    fileDefaults: { headDim: 256, queryPreAttnScalar: 256 },
    keys: softcaps,
    windows: { kind: "pattern", period: 2, otherwise: 4096 },
  },
  gemma3_text: {
    architecture: "Gemma3ForCausalLM",
    gguf: "gemma3",
    bothWays: { key: "use_bidirectional_attention", gguf: "gemma-embedding", windows: true },
    defaults: {
      ...gemmaLike,
      ropeTheta: 1e6,
      ropeLocalTheta: 1e4,
      maxPositionEmbeddings: 131072,
      attnLogitSoftcapping: null,
      finalLogitSoftcapping: null,
    },
    fileDefaults: { headDim: 256, queryPreAttnScalar: 256 },
    keys: { ...softcaps, rope_local_base_freq: "ropeLocalTheta" },
    windows: { kind: "pattern", period: 6, otherwise: 4096 },
  },
  olmo2: {
    architecture: "Olmo2ForCausalLM",
    gguf: "olmo2",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, maxPositionEmbeddings: 2048 },
    mustBe: { clip_qkv: undefined },
    windows: none,
  },
  olmo3: {
    architecture: "Olmo3ForCausalLM",
    gguf: "olmo2",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, ropeTheta: 5e5, maxPositionEmbeddings: 2048 },
    mustBe: { clip_qkv: undefined },
    windows: { kind: "pattern", period: 4, otherwise: 4096 },
    windowsUnscaled: true,
  },
  exaone4: {
    architecture: "Exaone4ForCausalLM",
    gguf: "exaone4",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, maxPositionEmbeddings: 2048 },
    windows: { kind: "pattern", period: 4, otherwise: 4096 },
  },
  hunyuan_v1_dense: {
    architecture: "HunYuanDenseV1ForCausalLM",
    gguf: "hunyuan-dense",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, maxPositionEmbeddings: 2048 },
    mustBe: { use_qk_norm: true, use_cla: false },
    windows: none,
    ropeAlpha: true,
  },
  seed_oss: {
    architecture: "SeedOssForCausalLM",
    gguf: "seed_oss",
    defaults: { ...llamaLike, maxPositionEmbeddings: 524288, attentionBias: true },
    fileDefaults: { headDim: 128, numKeyValueHeads: 8 },
    mustBe: { attention_out_bias: false },
    windows: none,
  },
  phi3: {
    architecture: "Phi3ForCausalLM",
    gguf: "phi3",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, maxPositionEmbeddings: 4096 },
    windows: { kind: "all", otherwise: null },
  },
  smollm3: {
    architecture: "SmolLM3ForCausalLM",
    gguf: "smollm3",
    defaults: { ...llamaLike, ropeTheta: 2e6, maxPositionEmbeddings: 32768, tieWordEmbeddings: true },
    keys: { no_rope_layers: "noRopeLayers" },
    windows: { kind: "unrotated" },
  },
  ...GRANITE_KIN,
  ...EXPERT_KIN,
  glm: { architecture: "GlmForCausalLM", gguf: "chatglm", ...glmLike },
  glm4: { architecture: "Glm4ForCausalLM", gguf: "glm4", ...glmLike },
  ernie4_5: {
    architecture: "Ernie4_5ForCausalLM",
    gguf: "ernie4_5",
    defaults: {
      ...llamaLike,
      rmsNormEps: 1e-5,
      ropeTheta: 5e5,
      maxPositionEmbeddings: 131072,
      tieWordEmbeddings: true,
    },
    fileDefaults: { headDim: 128, numKeyValueHeads: 2 },
    mustBe: { use_bias: false },
    windows: none,
  },
  ...LAYER_NORM_DECODERS,
  ...BERT_KIN,
  modernbert: {
    architecture: "ModernBertModel",
    gguf: "modern-bert",
    defaults: {
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-5,
      hiddenAct: "gelu",
      ropeTheta: 160000,
      ropeLocalTheta: 1e4,
      maxPositionEmbeddings: 8192,
    },
    keys: {
      norm_eps: "layerNormEpsilon",
      global_rope_theta: "ropeTheta",
      local_rope_theta: "ropeLocalTheta",
    },
    mustBe: { norm_bias: false, classifier_bias: false, classifier_activation: "gelu" },
    windows: { kind: "global", period: 3, otherwise: 128 },
    trunk: { prefix: "model.", bare: "embeddings.tok_embeddings.weight" },
    activationKey: "hidden_activation",
    encoder: { unread: (task) => (task ? /^decoder\./ : /^(head|decoder)\./) },
  },
  nomic_bert: {
    architecture: "NomicBertModel",
    gguf: "nomic-bert",
    defaults: {
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-12,
      hiddenAct: "silu",
      ropeTheta: 1000,
      maxPositionEmbeddings: 2048,
      typeVocabSize: 2,
    },
    keys: {
      n_embd: "hiddenSize",
      n_inner: "intermediateSize",
      n_layer: "numHiddenLayers",
      n_head: "numAttentionHeads",
      n_positions: "maxPositionEmbeddings",
      layer_norm_epsilon: "layerNormEpsilon",
      rotary_emb_base: "ropeTheta",
      type_vocab_size: "typeVocabSize",
    },
    otherKeys: { layer_norm_eps: "layerNormEpsilon" },
    mustBe: { moe_every_n_layers: 0, rotary_emb_scale_base: undefined, rotary_scaling_factor: undefined },
    fixed: {
      activation_function: "swiglu",
      hidden_act: "silu",
      causal: false,
      prenorm: false,
      parallel_block: false,
      use_rms_norm: false,
      qkv_proj_bias: false,
      mlp_fc1_bias: false,
      mlp_fc2_bias: false,
      rotary_emb_fraction: 1,
      rotary_emb_interleaved: false,
    },
    windows: none,
    trunk: { prefix: "", bare: "embeddings.word_embeddings.weight" },
    encoder: { unread: (task) => (task === "sequence" ? /^cls\./ : /^(cls|pooler)\./) },
  },
  gpt2: {
    architecture: "GPT2LMHeadModel",
    gguf: "gpt2",
    defaults: { ...gemmaLike, ropeTheta: 1e4, maxPositionEmbeddings: 1024 },
    mustBe: { scale_attn_by_inverse_layer_idx: false, add_cross_attention: false, scale_attn_weights: true },
    windows: none,
    positions: "from 0",
    ungated: true,
    activationKey: "activation_function",
    trunk: { prefix: "transformer.", bare: "wte.weight" },
  },
};

const formats = new Map<string, FamilyFormat>(Object.entries(FAMILY_FORMATS));

export function isModelType(modelType: unknown): modelType is ModelType {
  return typeof modelType === "string" && formats.has(modelType);
}

/** Returns all model types that can be loaded: built-in ones first, then registered ones. */
export function knownModelTypes(): ModelType[] {
  return [...formats.keys()];
}

/** Returns the file format of a family. @throws HeddleError UNSUPPORTED with the nearest known name */
export function formatOf(modelType: ModelType): FamilyFormat {
  const found = formats.get(modelType);
  if (!found) {
    const near = nearest(String(modelType), knownModelTypes());
    throw new HeddleError(
      "UNSUPPORTED",
      `model_type: expected a type that is provided${near ? ` (nearest: ${near})` : ""}, got ${describe(modelType)}`,
    );
  }
  return found;
}

/** Whether a family's configuration says always which part of each head rotates. */
export function saysRotated(modelType: ModelType): boolean {
  const { defaults, fileDefaults } = formatOf(modelType);
  return (defaults.partialRotaryFactor ?? fileDefaults?.partialRotaryFactor) !== undefined;
}

/** Adds a family, or takes it out. Its name is free: `registerFamily` looks. */
export function setFormat(modelType: string, format: FamilyFormat | undefined): void {
  if (format) formats.set(modelType, format);
  else formats.delete(modelType);
}

/** Whether a family came by `registerFamily`. */
export function isRegistered(modelType: ModelType): boolean {
  return formats.has(modelType) && !MODEL_TYPES.includes(modelType as BuiltInModelType);
}
