import { decoder } from "../nn/decoder.ts";
import { decoderConstants, decoderHead, decoderShape, decoderWeights } from "./decoder-weights.ts";
import type { Family } from "./family.ts";

/** Llama 1–3 and its copies (Touvron et al. 2023): RMSNorm, RoPE, grouped-query attention, SwiGLU. */
export const llama: Family = {
  modelTypes: ["llama"],
  architecture: "LlamaForCausalLM",
  weights: (config) => decoderWeights(config),
  constants: decoderConstants,
  head: decoderHead,
  forward: (context, config) => decoder(context, decoderShape(config)),
};
