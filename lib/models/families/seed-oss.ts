import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** Seed-OSS (ByteDance 2025): Llama with biases on q, k and v, and a separate head width. */
export const seedOss: FamilyDefinition = {
  modelType: "seed_oss",
  architecture: "SeedOssForCausalLM",
  calls: ["seed_xml"],
  defaults: { maxPositionEmbeddings: 524288, attentionBias: true },
  fileDefaults: { headDim: 128, numKeyValueHeads: 8 },
  mustBe: { attention_out_bias: false },
  gguf: {
    architecture: "seed_oss",
    names: { "model.layers.{layer}.post_attention_layernorm": "blk.{layer}.post_attention_norm" },
    llamaCpp: { mlpBias: false },
  },
  ...decoderFamily({ flags: { qkvBias: "attentionBias" } }),
};
