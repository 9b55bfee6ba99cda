import { input } from "../../graph/index.ts";
import type { SftBatch } from "../examples/sft-source.ts";
import type { Stage } from "../loop/stage.ts";
import { type TokenLossOptions, tokenLoss } from "./language-modeling.ts";

/** Next-token prediction over the counted tokens of rows: cross-entropy, averaged over all counted tokens. */
export const supervised: Stage<SftBatch> = {
  name: "sft",
  count: (batch) => batch.counted,
  collate({ tokens, targets, positions, documents, counted, tokenCount }, total) {
    const lossWeights = Float32Array.from(targets, (t) => (t < 0 ? 0 : 1 / total));
    return { inputs: { ids: tokens, targets, positions, documents, lossWeights }, tokens: tokenCount, counted };
  },
  loss: (context) => tokenLoss(context, context.forward({ documents: input("documents", "i32", [context.rows]) })),
};

/** Supervised fine-tuning with its options. */
export function supervisedBy({
  neftuneNoiseAlpha,
  ...loss
}: { neftuneNoiseAlpha: number } & TokenLossOptions): Stage<SftBatch> {
  return {
    ...supervised,
    loss(context) {
      const documents = input("documents", "i32", [context.rows]);
      return tokenLoss(context, context.forward({ documents, neftuneNoiseAlpha }), loss);
    },
  };
}
