import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** Llama 1–3 and its copies (Touvron et al. 2023): RMSNorm, RoPE, grouped-query attention, SwiGLU. */
export const llama: FamilyDefinition = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  calls: ["llama", "hermes", "deepseek_blocks"],
  // Llama's config.json always contains `mlp_bias`.
  defaults: { mlpBias: false },
  bidirectional: { key: "is_causal" },
  gguf: { architecture: "llama", layout: "rope", llamaCpp: { ropeTables: ["llama3", "longrope", "factors"] } },
  ...decoderFamily(),
};
