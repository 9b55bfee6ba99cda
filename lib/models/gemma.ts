import { decoder } from "../nn/decoder.ts";
import { activationOf, decoderConstants, decoderHead, decoderShape, decoderWeights } from "./decoder-weights.ts";
import type { Family } from "./family.ts";

/** Gemma 1 (Gemma Team 2024): embeddings times √width, norm weights as offsets from one, GeGLU, tied head. */
export const gemma: Family = {
  modelTypes: ["gemma"],
  architecture: "GemmaForCausalLM",
  weights: (config) => decoderWeights(config, { normOffset: true }),
  constants: decoderConstants,
  head: decoderHead,
  forward: (context, config) =>
    decoder(context, {
      ...decoderShape(config),
      normOffset: 1,
      embeddingScale: Math.sqrt(config.hiddenSize),
      activation: activationOf(config),
    }),
};
