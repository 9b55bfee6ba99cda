import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

// Only the 32B model has sliding-window layers. llama.cpp recognizes it by its number of layers.
const slides = (layers: number) => layers === 64;

/**
 * EXAONE 4 (LG AI Research 2025): norms on the blocks' outputs and on the heads of q and k. In a model with
 * sliding-window layers, such as the 32B model, the other layers have no RoPE.
 */
export const exaone4: FamilyDefinition = {
  modelType: "exaone4",
  architecture: "Exaone4ForCausalLM",
  calls: ["hermes"],
  defaults: { rmsNormEps: 1e-5 },
  windows: { kind: "pattern", period: 4, otherwise: 4096 },
  gguf: {
    architecture: "exaone4",
    names: {
      "model.layers.{layer}.post_attention_layernorm": "blk.{layer}.post_attention_norm",
      "model.layers.{layer}.post_feedforward_layernorm": "blk.{layer}.post_ffw_norm",
    },
    defaults: ({ numHiddenLayers }) => ({ slidingWindow: slides(numHiddenLayers) ? 4096 : null }),
    llamaCpp: {
      windows: slides,
      attentionBias: false,
      mlpBias: false,
      headsOfWidth: true,
      differences: ({ slidingWindow, numHiddenLayers }) =>
        slidingWindow === null && slides(numHiddenLayers)
          ? ["llama.cpp uses a sliding window of 4096 in three of every four layers, and the model has none"]
          : [],
    },
  },
  ...decoderFamily({
    flags: { norms: "after", queryNorm: "head" },
    shape: ({ slidingWindow }, { window, rotary }) => ({
      rotary: (layer) => (slidingWindow === null || window(layer) !== undefined ? rotary(layer) : undefined),
    }),
  }),
};
