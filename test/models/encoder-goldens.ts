// Golden values of scripts/golden/encoders.py.
import { readFileSync } from "node:fs";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import type { FamilyGolden } from "../golden/families.ts";
import { maxDifference } from "../helpers/max-difference.ts";

export interface EncoderGolden extends Pick<FamilyGolden, "name" | "config" | "weights" | "gradients"> {
  sequences: number[][];
  /** Hidden states of each sequence's tokens. */
  hidden: number[][][];
  /** The classifier's logits of each sequence. */
  logits: number[][];
  /** The loss is the sum of the logits times these. */
  coefficients: number[];
  /** MPNet only: buckets of the distances −600 to 600. */
  buckets?: number[];
}
export const goldens: EncoderGolden[] = JSON.parse(
  readFileSync(new URL("../golden/encoders.json", import.meta.url), "utf8"),
);

export const maxError = (got: ArrayLike<number>, wanted: readonly number[]) => maxDifference(wanted, got);
/** A checkpoint with only the trunk of a golden model. */
export function trunkOf({
  config: { architectures: _, ...config },
  weights,
}: EncoderGolden): Pick<EncoderGolden, "config" | "weights"> {
  const trunk = Object.entries(weights).filter(
    ([name]) => !/^(classifier|pre_classifier|head|bert\.pooler)\./.test(name),
  );
  return { config, weights: Object.fromEntries(trunk) };
}

/** Options of `pooledOutputs` that return a model's classifier logits, for texts or for tokens. */
export const read = ({ config: { classifier } }: LanguageModel) => ({
  pooling: classifier!.task === "token" ? ("all" as const) : classifier!.pooling,
  head: true,
  contextLength: 48,
});
export const rangeOf = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
