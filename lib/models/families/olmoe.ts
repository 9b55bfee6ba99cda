import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";
import { expertNames, gatedExperts } from "../routed-experts.ts";

/** OLMoE (Muennighoff et al. 2024): routed experts, and norms on q and k over their whole width. */
export const olmoe: FamilyDefinition = {
  modelType: "olmoe",
  architecture: "OlmoeForCausalLM",
  defaults: { rmsNormEps: 1e-5, maxPositionEmbeddings: 4096, normTopkProb: false },
  fileDefaults: { numExperts: 64, numExpertsPerTok: 8 },
  keys: {
    num_experts: "numExperts",
    num_experts_per_tok: "numExpertsPerTok",
    norm_topk_prob: "normTopkProb",
  },
  otherKeys: { num_local_experts: "numExperts" },
  mustBe: { clip_qkv: undefined },
  experts: { width: "intermediateSize", normalizedInGguf: false },
  gguf: {
    architecture: "olmoe",
    names: expertNames("mlp", "gate"),
    llamaCpp: {
      attentionBias: false,
      tiedHead: false,
      headsOfWidth: true,
      unopened: ({ numAttentionHeads, numKeyValueHeads }) =>
        numKeyValueHeads === numAttentionHeads ? undefined : "grouped-query attention",
    },
  },
  ...decoderFamily({
    flags: { queryNorm: "width" },
    experts: (config) => ({ router: "gate", width: config.intermediateSize }),
    shape: (config) => ({
      experts: () => gatedExperts(config, { router: "gate", normalize: config.normTopkProb! }),
    }),
  }),
};
