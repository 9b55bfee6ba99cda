import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases on q, k and v. */
export const qwen2: FamilyDefinition = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  calls: ["hermes"],
  defaults: { maxPositionEmbeddings: 32768 },
  windows: { kind: "flag", from: "max_window_layers" },
  bidirectional: { key: "is_causal" },
  gguf: {
    architecture: "qwen2",
    // Attention always has biases in this family, whatever `attentionBias` says. The reader of GGUF files infers true from
    // these biases, so restore the value that config.json gives.
    defaults: () => ({ attentionBias: false }),
    llamaCpp: { mlpBias: false, headsOfWidth: true },
  },
  ...decoderFamily({ flags: { qkvBias: true } }),
};

/** Qwen 3 (Yang et al. 2025): RMSNorm of each head of q and k before RoPE, and a separate head width. */
export const qwen3: FamilyDefinition = {
  modelType: "qwen3",
  architecture: "Qwen3ForCausalLM",
  calls: ["hermes"],
  defaults: { maxPositionEmbeddings: 32768 },
  fileDefaults: { headDim: 128 },
  windows: { kind: "flag", from: "max_window_layers" },
  bidirectional: { key: "is_causal" },
  gguf: { architecture: "qwen3", llamaCpp: { attentionBias: false, mlpBias: false } },
  ...decoderFamily({ flags: { queryNorm: "head" } }),
};
