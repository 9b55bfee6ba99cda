import { builtInDecoder } from "./define.ts";

/** OLMo 2 (Team OLMo 2024): norms on the blocks' outputs alone, and of q and k over their whole width. */
export const olmo2 = builtInDecoder("olmo2", { flags: { norms: "after", queryNorm: "width" } });
