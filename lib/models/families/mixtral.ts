import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { expertNames, gatedExperts } from "../routed-experts.ts";
import { llama } from "./llama.ts";

const block = "block_sparse_moe";

/** Mixtral (Jiang et al. 2024): Mistral with routed experts. The routing weights of a token sum to 1. */
export const mixtral: FamilyDefinition = {
  modelType: "mixtral",
  architecture: "MixtralForCausalLM",
  calls: ["mistral"],
  defaults: { rmsNormEps: 1e-5, ropeTheta: 1e6, maxPositionEmbeddings: 131072 },
  fileDefaults: { numKeyValueHeads: 8, numExperts: 8, numExpertsPerTok: 2 },
  keys: { num_local_experts: "numExperts", num_experts_per_tok: "numExpertsPerTok" },
  otherKeys: { num_experts: "numExperts" },
  windows: { kind: "all", otherwise: null },
  experts: {
    width: "intermediateSize",
    block,
    names: { gate: "w1", up: "w3", down: "w2" },
    normalizedInGguf: true,
  },
  gguf: { ...llama.gguf!, sharedWhen: "experts", names: expertNames(block, "gate") },
  ...decoderFamily({
    experts: (config) => ({ block, router: "gate", width: config.intermediateSize }),
    shape: (config) => ({ experts: () => gatedExperts(config, { block, router: "gate", normalize: true }) }),
  }),
};
