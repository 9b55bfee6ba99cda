import type { ModelConfig } from "../../formats/config/config.ts";
import { builtInDecoder } from "../define-decoder.ts";

const scaled = ({ hiddenSize }: ModelConfig) => ({ embeddingScale: Math.sqrt(hiddenSize) });

/** Soft caps and the scale of queries, which only later Gemmas have. */
const capped = (config: ModelConfig) => ({
  ...scaled(config),
  attentionScale: (config.queryPreAttnScalar ?? config.headDim) ** -0.5,
  ...(config.attnLogitSoftcapping && { attentionSoftcap: config.attnLogitSoftcapping }),
});
const logits = ({ finalLogitSoftcapping: softcap }: ModelConfig) => (softcap ? { softcap } : {});

/** Gemma 1 (Gemma Team 2024): embeddings times √width, norm weights as offsets from one, GeGLU, tied head. */
export const gemma = builtInDecoder("gemma", { flags: { normOffset: 1 }, shape: scaled });

/** Gemma 2 (Gemma Team 2024): norms around each block, soft caps, every second layer slides. */
export const gemma2 = builtInDecoder("gemma2", { flags: { normOffset: 1, norms: "around" }, shape: capped, logits });

/**
 * The language model of Gemma 3 (Gemma Team 2025): norms of the heads of q and k, and five sliding layers with a separate θ for each full
 * one. EmbeddingGemma (Schechter Vera et al. 2025) is the same with bidirectional attention.
 */
export const gemma3 = builtInDecoder("gemma3_text", {
  flags: { normOffset: 1, norms: "around", queryNorm: "head" },
  shape: capped,
  logits,
});
