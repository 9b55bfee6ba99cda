// File formats of Granite, for families.ts.
import type { FamilyFormat } from "../family-format.ts";

const defaults = {
  rmsNormEps: 1e-6,
  hiddenAct: "silu",
  ropeTheta: 1e4,
  maxPositionEmbeddings: 2048,
  embeddingMultiplier: 1,
  residualMultiplier: 1,
  logitsScaling: 1,
} as const;
const keys = {
  embedding_multiplier: "embeddingMultiplier",
  attention_multiplier: "attentionMultiplier",
  residual_multiplier: "residualMultiplier",
  logits_scaling: "logitsScaling",
} as const;

export const GRANITE_KIN = {
  granite: {
    architecture: "GraniteForCausalLM",
    gguf: "granite",
    defaults,
    fileDefaults: { attentionMultiplier: 1 },
    keys,
    windows: { kind: "none" },
  },
  granitemoehybrid: {
    architecture: "GraniteMoeHybridForCausalLM",
    gguf: "granite",
    defaults,
    fileDefaults: { attentionMultiplier: 1 },
    // `intermediate_size` is the width of experts, which these models do not have.
    keys: { ...keys, shared_intermediate_size: "intermediateSize" },
    fixed: { num_local_experts: 0, position_embedding_type: "rope" },
    windows: { kind: "none" },
    layerKind: "attention",
    gateUp: "shared_mlp.input_linear",
  },
  granitemoe: {
    architecture: "GraniteMoeForCausalLM",
    gguf: "granitemoe",
    defaults,
    fileDefaults: { attentionMultiplier: 1, numExperts: 8, numExpertsPerTok: 2 },
    keys: { ...keys, num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok" },
    otherKeys: { num_experts: "numExperts" },
    windows: { kind: "none" },
    experts: { width: "intermediateSize", block: "block_sparse_moe", fused: "halves", normalisedInGguf: true },
  },
} as const satisfies Record<string, FamilyFormat>;
