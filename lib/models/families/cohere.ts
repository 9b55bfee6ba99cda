import type { ModelConfig } from "../../formats/config/config.ts";
import { builtInDecoder } from "../define-decoder.ts";

const flags = { layerNorm: "plain", parallel: "one norm", interleaved: true } as const;
const logits = ({ logitScale = 1 }: ModelConfig) => ({ scale: logitScale });

/**
 * Command R (Cohere 2024): attention and the feed-forward block side by side behind one norm without a bias, scaled logits. Command R+ has
 * norms of each head of q and k as well.
 */
export const cohere = builtInDecoder("cohere", {
  flags: ({ useQkNorm }) => (useQkNorm ? { ...flags, queryNorm: "each head" } : flags),
  logits,
});

/** Command R7B and A (Cohere 2024): the same, three layers of four slide, and only these have positions. */
export const cohere2 = builtInDecoder("cohere2", {
  flags,
  logits,
  shape: (_, { window, rotary }) => ({
    rotary: (layer) => (window(layer) === undefined ? undefined : rotary(layer)),
  }),
});
