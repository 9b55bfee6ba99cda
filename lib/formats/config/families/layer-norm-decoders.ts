// Decoders with layer norms in files, for families.ts.
import type { BuiltInModelType } from "../families.ts";
import type { FamilyFormat } from "../family-format.ts";

const cohereLike = {
  rmsNormEps: 1e-6,
  layerNormEpsilon: 1e-5,
  hiddenAct: "silu",
  ropeTheta: 1e4,
  maxPositionEmbeddings: 8192,
  logitScale: 0.0625,
  tieWordEmbeddings: true,
} as const;
const cohereKeys = { layer_norm_eps: "layerNormEpsilon", logit_scale: "logitScale" } as const;
// Additional keys in its official files.
const cohereMustBe = { use_parallel_block: true, use_gated_activation: true } as const;

export const LAYER_NORM_DECODERS = {
  gpt_neox: {
    architecture: "GPTNeoXForCausalLM",
    gguf: "gptneox",
    defaults: {
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-5,
      hiddenAct: "gelu",
      ropeTheta: 1e4,
      maxPositionEmbeddings: 2048,
      attentionBias: true,
      useParallelResidual: true,
    },
    fileDefaults: { partialRotaryFactor: 0.25 },
    keys: {
      layer_norm_eps: "layerNormEpsilon",
      rotary_emb_base: "ropeTheta",
      rotary_pct: "partialRotaryFactor",
      use_parallel_residual: "useParallelResidual",
    },
    windows: { kind: "none" },
    layerNorm: true,
    ungated: true,
    wholeHeads: true,
    head: "embed_out",
    trunk: { prefix: "gpt_neox.", bare: "embed_in.weight" },
  },
  starcoder2: {
    architecture: "Starcoder2ForCausalLM",
    gguf: "starcoder2",
    defaults: {
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-5,
      hiddenAct: "gelu_pytorch_tanh",
      ropeTheta: 1e4,
      maxPositionEmbeddings: 4096,
      attentionBias: true,
      tieWordEmbeddings: true,
    },
    fileDefaults: { numKeyValueHeads: 2 },
    keys: { norm_epsilon: "layerNormEpsilon", use_bias: "attentionBias" },
    mustBe: { norm_type: "layer_norm", mlp_type: "default" },
    windows: { kind: "all", otherwise: null },
    layerNorm: true,
    ungated: true,
  },
  phi: {
    architecture: "PhiForCausalLM",
    gguf: "phi2",
    defaults: {
      rmsNormEps: 1e-6,
      layerNormEpsilon: 1e-5,
      hiddenAct: "gelu_pytorch_tanh",
      ropeTheta: 1e4,
      maxPositionEmbeddings: 2048,
      attentionBias: true,
    },
    fileDefaults: { partialRotaryFactor: 0.5 },
    keys: { layer_norm_eps: "layerNormEpsilon" },
    mustBe: { qk_layernorm: false },
    windows: { kind: "none" },
    layerNorm: true,
    ungated: true,
  },
  cohere: {
    architecture: "CohereForCausalLM",
    gguf: "command-r",
    defaults: { ...cohereLike, useQkNorm: false },
    keys: { ...cohereKeys, use_qk_norm: "useQkNorm" },
    mustBe: cohereMustBe,
    // Command R's max_position_embeddings is a sixteenth of the trained length, which another key holds.
    longestKey: "model_max_length",
    windows: { kind: "none" },
    layerNorm: true,
  },
  cohere2: {
    architecture: "Cohere2ForCausalLM",
    gguf: "cohere2",
    defaults: cohereLike,
    keys: cohereKeys,
    mustBe: { ...cohereMustBe, use_qk_norm: false },
    fixed: { rotary_pct: 1 },
    windows: { kind: "pattern", period: 4, otherwise: 4096 },
    layerNorm: true,
  },
} as const satisfies Partial<Record<BuiltInModelType, FamilyFormat>>;
