import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** SmolLM 3 (Hugging Face 2025): Llama without RoPE in every fourth layer (NoPE, Yang et al. 2025). */
export const smollm3: FamilyDefinition = {
  modelType: "smollm3",
  architecture: "SmolLM3ForCausalLM",
  calls: ["smollm"],
  defaults: { ropeTheta: 2e6, maxPositionEmbeddings: 32768, tieWordEmbeddings: true },
  keys: { no_rope_layers: "noRopeLayers" },
  noRopeEvery: 4,
  windows: { kind: "unrotated" },
  gguf: { architecture: "smollm3", layout: "rope", llamaCpp: { attentionBias: false, mlpBias: false } },
  ...decoderFamily(),
};
