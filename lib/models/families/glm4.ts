import { builtInDecoder } from "../define-decoder.ts";

const flags = { fused: "gate_up", interleaved: true, qkvBias: "attentionBias" } as const;

/** GLM 4 of 2024 and GLM-Edge (Team GLM 2024): gate and up in one projection, neighbours of a half of each head turn together. */
export const glm = builtInDecoder("glm", { flags });

/** GLM 4 of April 2025 (Z.ai): the same with norms around each block. */
export const glm4 = builtInDecoder("glm4", {
  flags: {
    ...flags,
    norms: "around",
    names: {
      afterAttention: "post_self_attn_layernorm",
      beforeMlp: "post_attention_layernorm",
      afterMlp: "post_mlp_layernorm",
    },
  },
});
