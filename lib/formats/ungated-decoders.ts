// Decoders with layer norms and feed-forward blocks without a gate, in files.
import type { BuiltInModelType, FamilyFormat } from "./families.ts";

export const UNGATED_DECODERS = {
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
} as const satisfies Partial<Record<BuiltInModelType, FamilyFormat>>;
