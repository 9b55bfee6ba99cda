import type { Batch } from "../data/corpus.ts";
import { crossEntropy, input } from "../graph/index.ts";
import type { Stage } from "./stage.ts";

/** Next-token prediction over packed text: cross-entropy, the mean over all positions with a target. */
export const languageModelling: Stage<Batch> = {
  name: "pretrain",
  count: (batch) => batch.tokenCount,
  collate(batch, total) {
    const weights = Float32Array.from(batch.targets, (t) => (t < 0 ? 0 : 1 / total));
    return {
      inputs: { ids: batch.tokens, targets: batch.targets, lossWeights: weights },
      tokens: batch.tokens.length,
      counted: batch.tokenCount,
    };
  },
  loss({ rows, forward }) {
    const { hidden, head } = forward();
    return crossEntropy(hidden, head, input("targets", "i32", [rows]), input("lossWeights", "f32", [rows]));
  },
};
