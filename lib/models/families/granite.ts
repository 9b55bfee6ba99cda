import type { ModelConfig } from "../../formats/config/config.ts";
import type { GgufFormat } from "../../formats/config/family-format.ts";
import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { expertNames, gatedExperts } from "../routed-experts.ts";

const defaults = { embeddingMultiplier: 1, residualMultiplier: 1, logitsScaling: 1 };
const fileDefaults = { attentionMultiplier: 1 };
// Published models scale attention scores by 1 / head_dim (μP), not by 1 / √head_dim.
const derive = ({ headDim }: { headDim: number }) => ({ attentionMultiplier: 1 / headDim });
const keys = {
  embedding_multiplier: "embeddingMultiplier",
  attention_multiplier: "attentionMultiplier",
  residual_multiplier: "residualMultiplier",
  logits_scaling: "logitsScaling",
} as const;
const gguf: GgufFormat = {
  architecture: "granite",
  layout: "rope",
  keys: {
    embedding_scale: "embeddingMultiplier",
    "attention.scale": "attentionMultiplier",
    residual_scale: "residualMultiplier",
    logit_scale: "logitsScaling",
  },
  defaults: ({ headDim }) => ({ ...defaults, attentionMultiplier: 1 / Math.sqrt(headDim) }),
  llamaCpp: { ropeTables: ["llama3", "longrope", "factors"] },
};

const scales = ({ embeddingMultiplier = 1, attentionMultiplier = 1, residualMultiplier = 1 }: ModelConfig) => ({
  embeddingScale: embeddingMultiplier,
  attentionScale: attentionMultiplier,
  residualScale: residualMultiplier,
});
const logits = ({ logitsScaling = 1 }: { logitsScaling?: number | undefined }) => ({ scale: 1 / logitsScaling });

/** Granite 3 (IBM 2024): Llama with multipliers for embeddings, attention scores, blocks' outputs and logits. */
export const granite: FamilyDefinition = {
  modelType: "granite",
  architecture: "GraniteForCausalLM",
  calls: ["granite"],
  defaults,
  fileDefaults,
  derive,
  keys,
  gguf,
  ...decoderFamily({ shape: scales, logits }),
};

/**
 * Granite 4's models without state-space layers and experts (IBM 2025): Granite 3 with gate and up in one projection.
 */
export const graniteHybrid: FamilyDefinition = {
  modelType: "granitemoehybrid",
  architecture: "GraniteMoeHybridForCausalLM",
  calls: ["hermes"],
  defaults,
  fileDefaults,
  derive,
  // `intermediate_size` is the width of experts, which these models do not have.
  keys: { ...keys, shared_intermediate_size: "intermediateSize" },
  fixed: { num_local_experts: 0, position_embedding_type: "rope" },
  layerKind: "attention",
  gateUp: "shared_mlp.input_linear",
  gguf: {
    ...gguf,
    sharedWhen: "named",
    names: {
      "model.layers.{layer}.shared_mlp.gate_proj": "blk.{layer}.ffn_gate",
      "model.layers.{layer}.shared_mlp.up_proj": "blk.{layer}.ffn_up",
      "model.layers.{layer}.shared_mlp.output_linear": "blk.{layer}.ffn_down",
    },
  },
  ...decoderFamily({
    flags: { fused: "gate_up", names: { mlp: "shared_mlp", gateUp: "input_linear", down: "output_linear" } },
    shape: scales,
    logits,
  }),
};

const routing = { block: "block_sparse_moe", router: "router.layer" } as const;

/** Granite 3's mixtures of experts: Granite 3 with routed experts. The routing weights of a token sum to 1. */
export const graniteMoe: FamilyDefinition = {
  modelType: "granitemoe",
  architecture: "GraniteMoeForCausalLM",
  calls: ["granite"],
  defaults,
  fileDefaults: { ...fileDefaults, numExperts: 8, numExpertsPerTok: 2 },
  derive,
  keys: { ...keys, num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok" },
  otherKeys: { num_experts: "numExperts" },
  experts: { width: "intermediateSize", block: routing.block, fused: "halves", normalizedInGguf: true },
  gguf: { ...gguf, architecture: "granitemoe", names: expertNames(routing.block, routing.router) },
  ...decoderFamily({
    experts: (config) => ({ ...routing, width: config.intermediateSize }),
    shape: (config) => ({
      ...scales(config),
      experts: () => gatedExperts(config, { ...routing, normalize: true }),
    }),
    logits,
  }),
};
