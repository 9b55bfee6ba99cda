import { builtInDecoder } from "./define.ts";

/** GLM 4 of April 2025 (Z.ai): norms around each block, gate and up in one projection, neighbours of a half of each head turn together. */
export const glm4 = builtInDecoder("glm4", {
  flags: {
    norms: "around",
    fused: "gate_up",
    interleaved: true,
    qkvBias: "attentionBias",
    names: {
      afterAttention: "post_self_attn_layernorm",
      beforeMlp: "post_attention_layernorm",
      afterMlp: "post_mlp_layernorm",
    },
  },
});
