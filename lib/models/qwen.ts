import { decoder } from "../nn/decoder.ts";
import { decoderConstants, decoderHead, decoderShape, decoderWeights } from "./decoder-weights.ts";
import type { Family } from "./family.ts";

/** Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases on q, k and v. */
export const qwen2: Family = {
  modelTypes: ["qwen2"],
  architecture: "Qwen2ForCausalLM",
  weights: (config) => decoderWeights(config, { qkvBias: true }),
  constants: decoderConstants,
  head: decoderHead,
  forward: (context, config) => decoder(context, decoderShape(config)),
};

/** Qwen 3 (Yang et al. 2025): RMSNorm of each head of q and k before the rotation, a head width of its own. */
export const qwen3: Family = {
  modelTypes: ["qwen3"],
  architecture: "Qwen3ForCausalLM",
  weights: (config) => decoderWeights(config, { headNorm: true }),
  constants: decoderConstants,
  head: decoderHead,
  forward: (context, config) => decoder(context, { ...decoderShape(config), headNorm: true }),
};
