import { gatedUnit } from "../../nn/experts.ts";
import { activationOf } from "../decoder-weights.ts";
import { builtInDecoder } from "../define-decoder.ts";

const routing = { block: "block_sparse_moe", router: "gate" } as const;

/** Mixtral (Jiang et al. 2024): Mistral with routed experts, whose shares add up to one. */
export const mixtral = builtInDecoder("mixtral", {
  experts: (config) => ({ ...routing, width: config.intermediateSize }),
  shape: (config) => ({
    experts: () => ({
      ...routing,
      perToken: config.numExpertsPerTok!,
      normalise: true,
      unit: gatedUnit(activationOf(config)),
    }),
  }),
});
