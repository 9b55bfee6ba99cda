import { builtInDecoder } from "../define-decoder.ts";
import { plainMlp } from "./plain-mlp.ts";

/**
 * GPT-NeoX (Black et al. 2022), including Pythia: layer norms, parallel attention and feed-forward blocks, each head's q, k and v in one
 * projection, partial RoPE, GELU without a gate.
 */
export const gptNeox = builtInDecoder("gpt_neox", {
  flags: {
    layerNorm: "biased",
    fused: "qkv by head",
    names: {
      embedding: "gpt_neox.embed_in",
      layers: "gpt_neox.layers",
      norm: "gpt_neox.final_layer_norm",
      head: "embed_out",
      attention: "attention",
      qkv: "query_key_value",
      output: "dense",
    },
  },
  shape: ({ useParallelResidual }) => (useParallelResidual ? { parallel: "two norms" } : {}),
  feedForward: plainMlp("dense_h_to_4h", "dense_4h_to_h", () => true),
});
