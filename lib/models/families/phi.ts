import { builtInDecoder } from "../define-decoder.ts";
import { plainMlp } from "./plain-mlp.ts";

/**
 * Phi 1, 1.5 and 2 (Gunasekar et al. 2023, Li et al. 2023): layer norms, attention and the feed-forward block side by side behind one of
 * them, heads that rotate in part, GELU without a gate, biases on all matrices, the head's among them.
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
