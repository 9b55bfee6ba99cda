import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** HunYuan's dense models, 0.5B to 7B (Tencent 2025): Llama with norms on the heads of q and k, after RoPE. */
export const hunyuan: FamilyDefinition = {
  modelType: "hunyuan_v1_dense",
  architecture: "HunYuanDenseV1ForCausalLM",
  calls: ["hunyuan"],
  defaults: { rmsNormEps: 1e-5 },
  mustBe: { use_qk_norm: true, use_cla: false },
  ropeAlpha: true,
  gguf: {
    architecture: "hunyuan-dense",
    names: {
      "model.layers.{layer}.self_attn.query_layernorm": "blk.{layer}.attn_q_norm",
      "model.layers.{layer}.self_attn.key_layernorm": "blk.{layer}.attn_k_norm",
    },
    llamaCpp: { attentionBias: false, mlpBias: false },
  },
  ...decoderFamily({
    flags: { queryNorm: "head after rope", names: { queryNorm: "query_layernorm", keyNorm: "key_layernorm" } },
  }),
};
