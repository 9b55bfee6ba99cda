import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** Phi-3 and Phi-4 (Abdin et al. 2024): fused projections, LongRoPE, and partial RoPE in some models. */
export const phi3: FamilyDefinition = {
  modelType: "phi3",
  architecture: "Phi3ForCausalLM",
  calls: ["phi", "phi_functools"],
  defaults: { rmsNormEps: 1e-5, maxPositionEmbeddings: 4096 },
  windows: { kind: "all", otherwise: null },
  originalContextBeside: true,
  gguf: {
    architecture: "phi3",
    names: {
      "model.layers.{layer}.self_attn.qkv_proj": "blk.{layer}.attn_qkv",
      "model.layers.{layer}.mlp.gate_up_proj": "blk.{layer}.ffn_up",
    },
    llamaCpp: { attentionBias: false, mlpBias: false, headsOfWidth: true, ropeTables: ["longrope"] },
  },
  ...decoderFamily({ flags: { fused: true } }),
};
