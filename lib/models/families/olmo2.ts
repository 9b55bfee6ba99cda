import { builtInDecoder } from "../define-decoder.ts";

const flags = { norms: "after", queryNorm: "width" } as const;

/** OLMo 2 (Team OLMo 2024): norms on the blocks' outputs alone, and of q and k over their whole width. */
export const olmo2 = builtInDecoder("olmo2", { flags });

/** OLMo 3 (Team OLMo 2025): OLMo 2 in which three layers of four slide, and only the others turn by a scaling (YaRN). */
export const olmo3 = builtInDecoder("olmo3", { flags });
