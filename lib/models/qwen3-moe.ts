import type { ModelConfig } from "../formats/config.ts";
import { gatedUnit } from "../nn/experts.ts";
import { activationOf } from "./decoder-weights.ts";
import { builtInDecoder } from "./define.ts";

/** Whether a layer has experts rather than one block for all (transformers' Qwen3MoeDecoderLayer). */
function isSparse({ decoderSparseStep = 1, mlpOnlyLayers = [] }: ModelConfig, layer: number): boolean {
  return decoderSparseStep > 0 && (layer + 1) % decoderSparseStep === 0 && !mlpOnlyLayers.includes(layer);
}

/** Qwen 3 with routed experts (Yang et al. 2025). */
export const qwen3Moe = builtInDecoder("qwen3_moe", {
  flags: { queryNorm: "head" },
  experts: (config, layer) =>
    isSparse(config, layer) ? { router: "gate", width: config.moeIntermediateSize! } : undefined,
  shape: (config) => ({
    experts: (layer) =>
      isSparse(config, layer)
        ? {
            perToken: config.numExpertsPerTok!,
            normalise: config.normTopkProb!,
            router: "gate",
            unit: gatedUnit(activationOf(config)),
          }
        : undefined,
  }),
});
