import { gatedUnit } from "../../nn/experts.ts";
import { activationOf } from "../decoder-weights.ts";
import { builtInDecoder } from "../define-decoder.ts";

/** OLMoE (Muennighoff et al. 2024): routed experts, and norms of q and k over their whole width. */
export const olmoe = builtInDecoder("olmoe", {
  flags: { queryNorm: "width" },
  experts: (config) => ({ router: "gate", width: config.intermediateSize }),
  shape: (config) => ({
    experts: () => ({
      router: "gate",
      perToken: config.numExpertsPerTok!,
      normalise: config.normTopkProb!,
      unit: gatedUnit(activationOf(config)),
    }),
  }),
});
