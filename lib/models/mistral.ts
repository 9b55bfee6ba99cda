import { decoder } from "../nn/decoder.ts";
import { decoderConstants, decoderHead, decoderShape, decoderWeights } from "./decoder-weights.ts";
import type { Family } from "./family.ts";

/** Mistral (Jiang et al. 2023): Llama with a head width of its own and a sliding window. */
export const mistral: Family = {
  modelTypes: ["mistral"],
  architecture: "MistralForCausalLM",
  weights: (config) => decoderWeights(config),
  constants: decoderConstants,
  head: decoderHead,
  forward: (context, config) => decoder(context, decoderShape(config)),
};
