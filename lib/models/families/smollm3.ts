import { builtInDecoder } from "../define-decoder.ts";

/** SmolLM 3 (Hugging Face 2025): Llama in which every fourth layer has no positions (NoPE, Yang et al. 2025). */
export const smollm3 = builtInDecoder("smollm3");
