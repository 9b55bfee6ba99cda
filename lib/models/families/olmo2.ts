import type { GgufFormat } from "../../formats/config/family-format.ts";
import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

const gguf: GgufFormat = {
  architecture: "olmo2",
  names: {
    "model.layers.{layer}.post_attention_layernorm": "blk.{layer}.post_attention_norm",
    "model.layers.{layer}.post_feedforward_layernorm": "blk.{layer}.post_ffw_norm",
  },
  // llama.cpp's converter writes the whole attention_factor of OLMo 3 into `attn_factor`. In other files `attn_factor` is a
  // multiple of YaRN's usual factor.
  yarn: { wholeAttnFactor: true },
  llamaCpp: { windows: true, attentionBias: false, mlpBias: false, tiedHead: false, headsOfWidth: true },
};
const decoder = decoderFamily({ flags: { norms: "after", queryNorm: "width" } });

/** OLMo 2 (Team OLMo 2024): norms on the blocks' outputs only, and on q and k over their whole width. */
export const olmo2: FamilyDefinition = {
  modelType: "olmo2",
  architecture: "Olmo2ForCausalLM",
  defaults: { rmsNormEps: 1e-5 },
  mustBe: { clip_qkv: undefined },
  gguf,
  ...decoder,
};

/** OLMo 3 (Team OLMo 2025): OLMo 2 with a sliding window in three of four layers. Only the other layers have scaled RoPE (YaRN). */
export const olmo3: FamilyDefinition = {
  modelType: "olmo3",
  architecture: "Olmo3ForCausalLM",
  defaults: { rmsNormEps: 1e-5, ropeTheta: 5e5 },
  mustBe: { clip_qkv: undefined },
  windows: { kind: "pattern", period: 4, otherwise: 4096 },
  windowsUnscaled: true,
  gguf: { ...gguf, sharedWhen: "windows" },
  ...decoder,
};
