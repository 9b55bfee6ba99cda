import { HeddleError } from "../../core/errors.ts";
import type { Batch } from "../../data/batch.ts";
import type { Packing } from "../../data/corpus.ts";
import { crossEntropy, input, isQuantized, type Value } from "../../graph/index.ts";
import type { Forward } from "../../models/forward.ts";
import type { LossContext, Stage } from "../loop/stage.ts";

/** Additional terms of the training loss: see `crossEntropyShape`. */
export interface TokenLossOptions {
  zLoss?: number | undefined;
  labelSmoothingFactor?: number | undefined;
}

/**
 * Returns the weighted sum of −log p of the targets, (1) f32. Reads the inputs `targets` and `lossWeights` (rows).
 * Z-loss and label smoothing apply in training, not on held-out data.
 */
export function tokenLoss(
  { rows, training }: LossContext,
  { hidden, head }: Forward,
  { zLoss = 0, labelSmoothingFactor: labelSmoothing = 0 }: TokenLossOptions = {},
): Value {
  const [targets, weights] = [input("targets", "i32", [rows]), input("lossWeights", "f32", [rows])];
  if (labelSmoothing > 0 && (head.softcap || isQuantized(head.weight.dtype)))
    throw new HeddleError(
      "UNSUPPORTED",
      `labelSmoothingFactor: expected 0 for ${head.softcap ? "a model that caps its logits" : "quantized weights"}, got ${labelSmoothing}`,
    );
  return crossEntropy(hidden, head, targets, weights, training ? { zLoss, labelSmoothing } : {});
}

/** Next-token prediction over concatenated text: cross-entropy, the mean over all positions with a target. */
export const languageModeling: Stage<Batch> = {
  name: "pretrain",
  count: (batch) => batch.tokenCount,
  collate(batch, total) {
    const weights = Float32Array.from(batch.targets, (t) => (t < 0 ? 0 : 1 / total));
    return {
      inputs: { ids: batch.tokens, targets: batch.targets, lossWeights: weights, documents: documentsOf(batch) },
      tokens: batch.tokens.length,
      counted: batch.tokenCount,
    };
  },
  loss: (context) => tokenLoss(context, context.forward()),
};

/**
 * Returns each row's document index: 0 for the concatenated text, −1 for the padding after its end. Every token of the text has a
 * target, except the last one. So a row belongs to the text if it or the row before it has a target.
 */
function documentsOf({ targets }: Batch): Int32Array {
  return targets.map((target, i) => (target >= 0 || (i > 0 && targets[i - 1]! >= 0) ? 0 : -1));
}

/** Next-token prediction over packed documents, which have separate positions and no attention between them. */
export const packedLanguageModeling: Stage<Batch> = {
  ...languageModeling,
  collate(batch, total, weight) {
    const { inputs, counted } = languageModeling.collate(batch, total, weight);
    const { positions, documents } = batch as Required<Batch>;
    // Every token except padding has a target.
    return { inputs: { ...inputs, positions, documents }, tokens: counted, counted };
  },
  loss: (context) => tokenLoss(context, context.forward({ documents: input("documents", "i32", [context.rows]) })),
};

/** Returns the stage of next-token prediction for a packing and options of the loss. */
export function languageModelingStage({ packing, ...loss }: { packing: Packing } & TokenLossOptions): Stage<Batch> {
  if (packing === "concatenate") return { ...languageModeling, loss: (c) => tokenLoss(c, c.forward(), loss) };
  return {
    ...packedLanguageModeling,
    loss: (c) => tokenLoss(c, c.forward({ documents: input("documents", "i32", [c.rows]) }), loss),
  };
}
