import { builtInDecoder } from "../define-decoder.ts";

/** Phi-3 and Phi-4 (Abdin et al. 2024): fused projections, LongRoPE, heads of which a part may rotate. */
export const phi3 = builtInDecoder("phi3", { flags: { fused: true } });
