import { builtInDecoder } from "../define-decoder.ts";

/** Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases on q, k and v. */
export const qwen2 = builtInDecoder("qwen2", { flags: { qkvBias: true } });

/** Qwen 3 (Yang et al. 2025): RMSNorm of each head of q and k before RoPE, and a separate head width. */
export const qwen3 = builtInDecoder("qwen3", { flags: { queryNorm: "head" } });
