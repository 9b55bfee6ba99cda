// File formats of decoders with routed experts, for families.ts.
import type { FamilyFormat } from "../family-format.ts";

const llamaLike = { rmsNormEps: 1e-6, hiddenAct: "silu", ropeTheta: 1e4 } as const;

const none = { kind: "none" } as const;

const qwenKeys = {
  num_experts: "numExperts",
  num_experts_per_tok: "numExpertsPerTok",
  moe_intermediate_size: "moeIntermediateSize",
  norm_topk_prob: "normTopkProb",
  decoder_sparse_step: "decoderSparseStep",
  mlp_only_layers: "mlpOnlyLayers",
} as const;

const qwenDefaults: FamilyFormat["defaults"] = {
  ...llamaLike,
  maxPositionEmbeddings: 32768,
  normTopkProb: false,
  decoderSparseStep: 1,
  mlpOnlyLayers: [],
};

export const EXPERT_KIN = {
  qwen2_moe: {
    architecture: "Qwen2MoeForCausalLM",
    gguf: "qwen2moe",
    defaults: qwenDefaults,
    fileDefaults: {
      numKeyValueHeads: 16,
      numExperts: 60,
      numExpertsPerTok: 4,
      moeIntermediateSize: 1408,
      sharedExpertIntermediateSize: 5632,
    },
    keys: { ...qwenKeys, shared_expert_intermediate_size: "sharedExpertIntermediateSize" },
    otherKeys: { num_local_experts: "numExperts" },
    // Which layers slide is not the same in all versions of transformers; no published model has any.
    mustBe: { qkv_bias: true, use_sliding_window: false },
    windows: none,
    experts: { width: "moeIntermediateSize", shared: true, normalisedInGguf: false },
  },
  qwen3_moe: {
    architecture: "Qwen3MoeForCausalLM",
    gguf: "qwen3moe",
    defaults: qwenDefaults,
    fileDefaults: { numExperts: 128, numExpertsPerTok: 8, moeIntermediateSize: 768 },
    keys: qwenKeys,
    otherKeys: { num_local_experts: "numExperts" },
    windows: { kind: "flag", from: "first" },
    experts: { width: "moeIntermediateSize", normalisedInGguf: true },
  },
  mixtral: {
    architecture: "MixtralForCausalLM",
    gguf: "llama",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, ropeTheta: 1e6, maxPositionEmbeddings: 131072 },
    fileDefaults: { numKeyValueHeads: 8, numExperts: 8, numExpertsPerTok: 2 },
    keys: { num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok" },
    otherKeys: { num_experts: "numExperts" },
    windows: { kind: "all", otherwise: null },
    experts: {
      width: "intermediateSize",
      block: "block_sparse_moe",
      names: { gate: "w1", up: "w3", down: "w2" },
      normalisedInGguf: true,
    },
  },
  olmoe: {
    architecture: "OlmoeForCausalLM",
    gguf: "olmoe",
    defaults: { ...llamaLike, rmsNormEps: 1e-5, maxPositionEmbeddings: 4096, normTopkProb: false },
    fileDefaults: { numExperts: 64, numExpertsPerTok: 8 },
    keys: {
      num_experts: "numExperts",
      num_experts_per_tok: "numExpertsPerTok",
      norm_topk_prob: "normTopkProb",
    },
    otherKeys: { num_local_experts: "numExperts" },
    mustBe: { clip_qkv: undefined },
    windows: none,
    experts: { width: "intermediateSize", normalisedInGguf: false },
  },
  gpt_oss: {
    architecture: "GptOssForCausalLM",
    gguf: "gpt-oss",
    defaults: {
      ...llamaLike,
      rmsNormEps: 1e-5,
      ropeTheta: 150000,
      maxPositionEmbeddings: 131072,
      attentionBias: true,
      swigluLimit: 7,
    },
    fileDefaults: { headDim: 64, numExperts: 128, numExpertsPerTok: 4 },
    keys: { num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok", swiglu_limit: "swigluLimit" },
    otherKeys: { num_experts: "numExperts" },
    windows: { kind: "pattern", period: 2, otherwise: 128 },
    experts: { width: "intermediateSize", fused: "turns", normalisedInGguf: true },
  },
} as const satisfies Record<string, FamilyFormat>;
