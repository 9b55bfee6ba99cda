import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { llama } from "./llama.ts";

/** Mistral (Jiang et al. 2023): Llama with a separate head width and a sliding window. */
export const mistral: FamilyDefinition = {
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  calls: ["mistral_args", "mistral"],
  defaults: { maxPositionEmbeddings: 131072 },
  windows: { kind: "all", otherwise: 4096 },
  bidirectional: { key: "is_causal" },
  gguf: { ...llama.gguf!, sharedWhen: "windows" },
  ...decoderFamily(),
};
