import { clampedUnit } from "../../nn/experts.ts";
import { builtInDecoder } from "../define-decoder.ts";

/**
 * gpt-oss (OpenAI 2025): routed experts with biases and a clamped SwiGLU, attention sinks, every second layer slides, YaRN
 * without whole bounds.
 */
export const gptOss = builtInDecoder("gpt_oss", {
  flags: { sinks: true },
  experts: (config) => ({ router: "router", width: config.intermediateSize, bias: true }),
  shape: (config) => ({
    experts: () => ({
      perToken: config.numExpertsPerTok!,
      normalise: true,
      router: "router",
      unit: clampedUnit(config.swigluLimit!),
    }),
  }),
});
