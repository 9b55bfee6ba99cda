import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

const facts = {
  defaults: { rmsNormEps: 1.5625e-7, maxPositionEmbeddings: 131072, attentionBias: true },
  fileDefaults: { headDim: 128, numKeyValueHeads: 2, partialRotaryFactor: 0.5 },
};
const flags = { fused: "gate_up", interleaved: true, qkvBias: "attentionBias" } as const;

/**
 * GLM 4 of 2024 and GLM-Edge (Team GLM 2024): gate and up are one projection. RoPE pairs adjacent dimensions, in the
 * first half of each head.
 */
export const glm: FamilyDefinition = {
  modelType: "glm",
  architecture: "GlmForCausalLM",
  calls: ["glm_plain", "glm"],
  ...facts,
  gguf: {
    architecture: "chatglm",
    names: { "model.layers.{layer}.mlp.gate_up_proj": "blk.{layer}.ffn_up" },
    llamaCpp: { mlpBias: false, headsOfWidth: true },
  },
  ...decoderFamily({ flags }),
};

/** GLM 4-0414 of April 2025 (Z.ai): like GLM 4 of 2024, with norms around each block. */
export const glm4: FamilyDefinition = {
  modelType: "glm4",
  architecture: "Glm4ForCausalLM",
  calls: ["glm_plain", "glm"],
  ...facts,
  gguf: {
    architecture: "glm4",
    names: {
      "model.layers.{layer}.mlp.gate_up_proj": "blk.{layer}.ffn_up",
      "model.layers.{layer}.post_self_attn_layernorm": "blk.{layer}.post_attention_norm",
      "model.layers.{layer}.post_mlp_layernorm": "blk.{layer}.post_ffw_norm",
    },
    llamaCpp: { mlpBias: false },
  },
  ...decoderFamily({
    flags: {
      ...flags,
      norms: "around",
      names: {
        afterAttention: "post_self_attn_layernorm",
        beforeMlp: "post_attention_layernorm",
        afterMlp: "post_mlp_layernorm",
      },
    },
  }),
};
