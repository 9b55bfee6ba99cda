import { builtInDecoder } from "../define-decoder.ts";

/** Seed-OSS (ByteDance 2025): Llama with biases on q, k and v, and heads whose width is not hidden_size by their number. */
export const seedOss = builtInDecoder("seed_oss", { flags: { qkvBias: "attentionBias" } });
