import type { ModelConfig } from "../../formats/config/config.ts";
import { gatedUnit } from "../../nn/experts.ts";
import { activationOf } from "../decoder-weights.ts";
import { builtInDecoder } from "../define-decoder.ts";

const scales = ({ embeddingMultiplier = 1, attentionMultiplier = 1, residualMultiplier = 1 }: ModelConfig) => ({
  embeddingScale: embeddingMultiplier,
  attentionScale: attentionMultiplier,
  residualScale: residualMultiplier,
});
const logits = ({ logitsScaling = 1 }: ModelConfig) => ({ scale: 1 / logitsScaling });

/** Granite 3 (IBM 2024): Llama with multipliers of embeddings, scores, blocks' outputs and logits. */
export const granite = builtInDecoder("granite", { shape: scales, logits });

/** Granite 4's models without state-space layers and experts (IBM 2025): Granite, gate and up in one projection. */
export const graniteHybrid = builtInDecoder("granitemoehybrid", {
  flags: { fused: "gate_up", names: { mlp: "shared_mlp", gateUp: "input_linear", down: "output_linear" } },
  shape: scales,
  logits,
});

const routing = { block: "block_sparse_moe", router: "router.layer" } as const;

/** Granite 3's mixtures of experts: the same with routed experts, whose shares add up to one. */
export const graniteMoe = builtInDecoder("granitemoe", {
  experts: (config) => ({ ...routing, width: config.intermediateSize }),
  shape: (config) => ({
    ...scales(config),
    experts: () => ({
      ...routing,
      perToken: config.numExpertsPerTok!,
      normalise: true,
      unit: gatedUnit(activationOf(config)),
    }),
  }),
  logits,
});
