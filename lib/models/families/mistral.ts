import { builtInDecoder } from "../define-decoder.ts";

/** Mistral (Jiang et al. 2023): Llama with a head width of its own and a sliding window. */
export const mistral = builtInDecoder("mistral");
