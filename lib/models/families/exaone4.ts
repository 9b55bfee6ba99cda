import { builtInDecoder } from "../define-decoder.ts";

/**
 * EXAONE 4 (LG AI Research 2025): norms on the blocks' outputs and of q's and k's heads. Where some layers slide, as in the 32B model, the
 * others have no positions.
 */
export const exaone4 = builtInDecoder("exaone4", {
  flags: { norms: "after", queryNorm: "head" },
  shape: ({ slidingWindow }, { window, rotary }) => ({
    rotary: (layer) => (slidingWindow === null || window(layer) !== undefined ? rotary(layer) : undefined),
  }),
});
