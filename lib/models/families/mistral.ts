import { builtInDecoder } from "../define-decoder.ts";

/** Mistral (Jiang et al. 2023): Llama with a separate head width and a sliding window. */
export const mistral = builtInDecoder("mistral");
