import { builtInDecoder } from "../define-decoder.ts";
import { plainMlp } from "./plain-mlp.ts";

/**
 * Phi 1, 1.5 and 2 (Gunasekar et al. 2023, Li et al. 2023): layer norms, parallel attention and feed-forward blocks with one norm, partial
 * RoPE, GELU without a gate, and biases on all matrices including the head.
 */
export const phi = builtInDecoder("phi", {
  flags: {
    layerNorm: "biased",
    parallel: "one norm",
    headBias: true,
    names: { norm: "model.final_layernorm", output: "dense" },
  },
  feedForward: plainMlp("fc1", "fc2", () => true),
});
