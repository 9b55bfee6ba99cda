import type { ModelConfig } from "../../formats/config/config.ts";
import type { DecoderWeightFlags } from "../decoder-weights.ts";
import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { expertNames, gatedExperts } from "../routed-experts.ts";

const keys = {
  num_experts: "numExperts",
  num_experts_per_tok: "numExpertsPerTok",
  moe_intermediate_size: "moeIntermediateSize",
  norm_topk_prob: "normTopkProb",
  decoder_sparse_step: "decoderSparseStep",
  mlp_only_layers: "mlpOnlyLayers",
} as const;
const otherKeys = { num_local_experts: "numExperts" } as const;
const defaults = { maxPositionEmbeddings: 32768, normTopkProb: false, decoderSparseStep: 1, mlpOnlyLayers: [] };

/** Whether a layer has routed experts rather than a dense block (transformers' Qwen3MoeDecoderLayer). */
function isSparse({ decoderSparseStep = 1, mlpOnlyLayers = [] }: ModelConfig, layer: number): boolean {
  return decoderSparseStep > 0 && (layer + 1) % decoderSparseStep === 0 && !mlpOnlyLayers.includes(layer);
}

function sparseDecoder(flags: DecoderWeightFlags, shared: boolean) {
  return decoderFamily({
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
          ? { ...gatedExperts(config, { router: "gate", normalize: config.normTopkProb! }), shared }
          : undefined,
    }),
  });
}

/** Qwen 1.5 and 2 with routed experts and a gated shared expert (Qwen Team 2024). */
export const qwen2Moe: FamilyDefinition = {
  modelType: "qwen2_moe",
  architecture: "Qwen2MoeForCausalLM",
  calls: ["hermes"],
  defaults,
  fileDefaults: {
    numKeyValueHeads: 16,
    numExperts: 60,
    numExpertsPerTok: 4,
    moeIntermediateSize: 1408,
    sharedExpertIntermediateSize: 5632,
  },
  keys: { ...keys, shared_expert_intermediate_size: "sharedExpertIntermediateSize" },
  otherKeys,
  // Refuse sliding windows, because versions of transformers apply them to different layers. No published model has them.
  mustBe: { qkv_bias: true, use_sliding_window: false },
  experts: { width: "moeIntermediateSize", shared: true, normalizedInGguf: false },
  gguf: {
    architecture: "qwen2moe",
    names: {
      ...expertNames("mlp", "gate"),
      "model.layers.{layer}.mlp.shared_expert_gate": "blk.{layer}.ffn_gate_inp_shexp",
      "model.layers.{layer}.mlp.shared_expert.gate_proj": "blk.{layer}.ffn_gate_shexp",
      "model.layers.{layer}.mlp.shared_expert.up_proj": "blk.{layer}.ffn_up_shexp",
      "model.layers.{layer}.mlp.shared_expert.down_proj": "blk.{layer}.ffn_down_shexp",
    },
    // Attention always has biases in this family, whatever `attentionBias` says. The reader of GGUF files infers true from
    // these biases, so restore the value that config.json gives.
    defaults: () => ({ attentionBias: false }),
    llamaCpp: { tiedHead: false, headsOfWidth: true },
  },
  ...sparseDecoder({ qkvBias: true }, true),
};

/** Qwen 3 with routed experts (Yang et al. 2025). */
export const qwen3Moe: FamilyDefinition = {
  modelType: "qwen3_moe",
  architecture: "Qwen3MoeForCausalLM",
  calls: ["hermes", "qwen_xml"],
  defaults,
  fileDefaults: { numExperts: 128, numExpertsPerTok: 8, moeIntermediateSize: 768 },
  keys,
  otherKeys,
  windows: { kind: "flag", from: "first" },
  experts: { width: "moeIntermediateSize", normalizedInGguf: true },
  gguf: { architecture: "qwen3moe", names: expertNames("mlp", "gate"), llamaCpp: { attentionBias: false } },
  ...sparseDecoder({ queryNorm: "head" }, false),
};
