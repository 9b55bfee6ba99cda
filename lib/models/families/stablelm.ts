import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/**
 * StableLM 3B and 2 (Bellagente et al. 2024): Llama with LayerNorm, partial RoPE, and optional biases on q, k and v. The
 * 12B model has parallel blocks with one norm, and a norm of each head of q and k.
 */
export const stablelm: FamilyDefinition = {
  modelType: "stablelm",
  architecture: "StableLmForCausalLM",
  defaults: {
    layerNormEpsilon: 1e-5,
    maxPositionEmbeddings: 4096,
    useParallelResidual: false,
    useQkNorm: false,
  },
  fileDefaults: { numKeyValueHeads: 32, partialRotaryFactor: 0.25 },
  keys: {
    layer_norm_eps: "layerNormEpsilon",
    use_qkv_bias: "attentionBias",
    use_parallel_residual: "useParallelResidual",
    qk_layernorm: "useQkNorm",
  },
  layerNorm: true,
  headNorms: { q_norm: "q_layernorm.norms", k_norm: "k_layernorm.norms" },
  gguf: {
    architecture: "stablelm",
    keys: { use_parallel_residual: "useParallelResidual" },
    defaults: () => ({ useParallelResidual: false }),
    // Decide by the tensors, as llama.cpp does. Its converter writes use_parallel_residual as true if config.json lacks it.
    byTensors: (has) => ({
      useParallelResidual: !has("blk.0.ffn_norm.weight"),
      useQkNorm: has("blk.0.attn_q_norm.weight"),
    }),
    llamaCpp: { mlpBias: false, tiedHead: false, headsOfWidth: true },
  },
  ...decoderFamily({
    flags: ({ useParallelResidual, useQkNorm }) => ({
      layerNorm: "biased",
      qkvBias: "attentionBias",
      ...(useQkNorm && { queryNorm: "each head" }),
      ...(useParallelResidual && { parallel: "one norm" }),
    }),
  }),
};
