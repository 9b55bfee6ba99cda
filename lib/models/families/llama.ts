import { builtInDecoder } from "../define-decoder.ts";

/** Llama 1–3 and its copies (Touvron et al. 2023): RMSNorm, RoPE, grouped-query attention, SwiGLU. */
export const llama = builtInDecoder("llama");
