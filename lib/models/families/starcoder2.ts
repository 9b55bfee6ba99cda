import { builtInDecoder } from "../define-decoder.ts";
import { plainMlp } from "./plain-mlp.ts";

/** StarCoder 2 (Lozhkov et al. 2024): layer norms, GELU without a gate, biases on all matrices, a sliding window. */
export const starcoder2 = builtInDecoder("starcoder2", {
  flags: { layerNorm: "biased" },
  feedForward: plainMlp("c_fc", "c_proj", ({ attentionBias }) => attentionBias),
});
