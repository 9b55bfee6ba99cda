import { builtInDecoder } from "./define.ts";

/** Granite 3 (IBM 2024): Llama with multipliers of embeddings, scores, blocks' outputs and logits. */
export const granite = builtInDecoder("granite", {
  shape: ({ embeddingMultiplier = 1, attentionMultiplier = 1, residualMultiplier = 1 }) => ({
    embeddingScale: embeddingMultiplier,
    attentionScale: attentionMultiplier,
    residualScale: residualMultiplier,
  }),
  logits: ({ logitsScaling = 1 }) => ({ scale: 1 / logitsScaling }),
});
