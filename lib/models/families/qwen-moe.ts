import type { ModelConfig } from "../../formats/config/config.ts";
import { gatedUnit } from "../../nn/experts.ts";
import { activationOf, type DecoderWeightFlags } from "../decoder-weights.ts";
import { builtInDecoder } from "../define-decoder.ts";

/** Whether a layer has experts rather than one block for all (transformers' Qwen3MoeDecoderLayer). */
function isSparse({ decoderSparseStep = 1, mlpOnlyLayers = [] }: ModelConfig, layer: number): boolean {
  return decoderSparseStep > 0 && (layer + 1) % decoderSparseStep === 0 && !mlpOnlyLayers.includes(layer);
}

function qwenMoe(modelType: "qwen2_moe" | "qwen3_moe", flags: DecoderWeightFlags, shared: boolean) {
  return builtInDecoder(modelType, {
    flags,
    experts: (config, layer) =>
      isSparse(config, layer)
        ? {
            router: "gate",
            width: config.moeIntermediateSize!,
            ...(shared && { shared: config.sharedExpertIntermediateSize! }),
          }
        : undefined,
    shape: (config) => ({
      experts: (layer) =>
        isSparse(config, layer)
          ? {
              perToken: config.numExpertsPerTok!,
              normalise: config.normTopkProb!,
              router: "gate",
              shared,
              unit: gatedUnit(activationOf(config)),
            }
          : undefined,
    }),
  });
}

/** Qwen 1.5 and 2 with routed experts and a gated shared expert (Qwen Team 2024). */
export const qwen2Moe = qwenMoe("qwen2_moe", { qkvBias: true }, true);

/** Qwen 3 with routed experts (Yang et al. 2025). */
export const qwen3Moe = qwenMoe("qwen3_moe", { queryNorm: "head" }, false);
