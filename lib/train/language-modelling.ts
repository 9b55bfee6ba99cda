import type { Batch } from "../data/batch.ts";
import { crossEntropy, input } from "../graph/index.ts";
import type { Stage } from "./stage.ts";

/** Next-token prediction over text that is set end to end: cross-entropy, the mean over all positions with a target. */
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

/** The same over packed documents, which have positions of their own and do not see each other. */
export const packedLanguageModelling: Stage<Batch> = {
  ...languageModelling,
  collate(batch, total) {
    const { inputs, counted } = languageModelling.collate(batch, total);
    const { positions, documents } = batch as Required<Batch>;
    // Every token but the padding has a target.
    return { inputs: { ...inputs, positions, documents }, tokens: counted, counted };
  },
  loss({ rows, forward }) {
    const { hidden, head } = forward({ documents: input("documents", "i32", [rows]) });
    return crossEntropy(hidden, head, input("targets", "i32", [rows]), input("lossWeights", "f32", [rows]));
  },
};
