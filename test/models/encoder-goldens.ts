// The values of scripts/golden/encoders.py.
import { readFileSync } from "node:fs";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import type { FamilyGolden } from "../golden/families.ts";

export interface EncoderGolden extends Pick<FamilyGolden, "name" | "config" | "weights" | "gradients"> {
  sequences: number[][];
  /** Of each sequence's tokens. */
  hidden: number[][][];
  /** The classifier's, of each sequence. */
  logits: number[][];
  /** The gradients are those of the logits' sum times these. */
  coefficients: number[];
  /** Of MPNet: the buckets of distances −600 to 600. */
  buckets?: number[];
}
export const goldens: EncoderGolden[] = JSON.parse(
  readFileSync(new URL("../golden/encoders.json", import.meta.url), "utf8"),
);

export const worst = (got: ArrayLike<number>, wanted: readonly number[]) =>
  Math.max(...wanted.map((v, i) => Math.abs(v - got[i]!)));
/** A checkpoint of a golden's trunk alone. */
export function trunkOf({
  config: { architectures: _, ...config },
  weights,
}: EncoderGolden): Pick<EncoderGolden, "config" | "weights"> {
  const trunk = Object.entries(weights).filter(
    ([name]) => !/^(classifier|pre_classifier|head|bert\.pooler)\./.test(name),
  );
  return { config, weights: Object.fromEntries(trunk) };
}

/** How a classifier reads texts, or each of their words. */
export const read = ({ config: { classifier } }: LanguageModel) => ({
  pooling: classifier!.task === "token" ? ("all" as const) : classifier!.pooling,
  head: true,
  contextLength: 48,
});
export const rangeOf = (values: readonly number[]) => Math.max(...values) - Math.min(...values);
