import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

// llama.cpp recognizes the model that slides, of 32B parameters, by its depth.
const slides = (layers: number) => layers === 64;

/**
 * EXAONE 4 (LG AI Research 2025): norms on the blocks' outputs and of q's and k's heads. Where some layers slide, as in the 32B model, the
 * others have no positions.
 */
export const exaone4: FamilyDefinition = {
  modelType: "exaone4",
  architecture: "Exaone4ForCausalLM",
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
          ? ["no sliding window in 64 layers: one of 4096 in three of every four"]
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
