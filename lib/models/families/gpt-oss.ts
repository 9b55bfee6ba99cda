import { clampedUnit } from "../../nn/experts.ts";
import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { expertNames } from "../routed-experts.ts";

/**
 * gpt-oss (OpenAI 2025), also in MXFP4: routed experts with biases and a clamped SwiGLU, attention sinks, a sliding window in every
 * second layer, and YaRN with unrounded bounds.
 */
export const gptOss: FamilyDefinition = {
  modelType: "gpt_oss",
  architecture: "GptOssForCausalLM",
  calls: ["harmony"],
  defaults: {
    rmsNormEps: 1e-5,
    ropeTheta: 150000,
    maxPositionEmbeddings: 131072,
    attentionBias: true,
    swigluLimit: 7,
  },
  fileDefaults: { headDim: 64, numExperts: 128, numExpertsPerTok: 4 },
  keys: { num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok", swiglu_limit: "swigluLimit" },
  otherKeys: { num_experts: "numExperts" },
  windows: { kind: "pattern", period: 2, otherwise: 128 },
  experts: { width: "intermediateSize", fused: "turns", normalizedInGguf: true },
  gguf: {
    architecture: "gpt-oss",
    names: {
      "model.layers.{layer}.self_attn.sinks": "blk.{layer}.attn_sinks.weight",
      "model.layers.{layer}.post_attention_layernorm": "blk.{layer}.post_attention_norm",
      ...expertNames("mlp", "router"),
    },
    defaults: () => ({ attentionBias: true }),
    yarn: { truncate: false },
    llamaCpp: {
      windows: true,
      tiedHead: false,
      differences: ({ slidingWindow, swigluLimit }) => [
        ...(slidingWindow === null ? ["llama.cpp cannot open gpt-oss files without a sliding window"] : []),
        ...(swigluLimit === 7 ? [] : ["llama.cpp uses 7 instead of the model's swiglu_limit"]),
      ],
    },
  },
  ...decoderFamily({
    flags: { sinks: true },
    experts: (config) => ({ router: "router", width: config.intermediateSize, bias: true }),
    shape: (config) => ({
      experts: () => ({
        perToken: config.numExpertsPerTok!,
        normalize: true,
        router: "router",
        unit: clampedUnit(config.swigluLimit!),
      }),
    }),
  }),
};
