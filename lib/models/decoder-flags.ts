// The flags of the shared decoder, and which of them exclude each other.

import { checkParts, type PartKind } from "../core/checked-parts.ts";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { DECODER_NAMES, type DecoderNames } from "../nn/decoder-names.ts";
import type { DecoderWeightFlags } from "./decoder-weights.ts";

/** The kinds of layers whose attention and feed-forward block run in parallel: with a norm for each block, or one for both. */
export const PARALLEL = ["two norms", "one norm"] as const;

const FLAGS: Record<keyof DecoderWeightFlags, PartKind> = {
  norms: ["before", "around", "after"],
  normOffset: [0, 1],
  queryNorm: ["head", "head after rope", "each head", "width"],
  layerNorm: ["biased", "plain"],
  parallel: PARALLEL,
  fused: [true, false, "gate_up", "qkv by head"],
  interleaved: "boolean",
  sinks: "boolean",
  names: "object",
  qkvBias: [true, false, "attentionBias"],
  headBias: "boolean",
};
const NAMES = Object.fromEntries(DECODER_NAMES.map((name) => [name, "string"])) as Record<keyof DecoderNames, PartKind>;

/** Checks a family's flags. @throws HeddleError INVALID_ARGUMENT for unknown or incompatible flags */
export function checkDecoderFlags(flags: DecoderWeightFlags): void {
  checkParts("decoderFamily.flags", flags, FLAGS);
  const { norms, parallel, names } = flags;
  if (names) checkParts("decoderFamily.flags.names", names, NAMES);
  if (parallel && norms === "after")
    throw invalidArgument("decoderFamily.flags.parallel", 'norms "before" or "around" together with `parallel`', norms);
}

/**
 * Checks that `parallel` of a shape agrees with the flags, which decide whether there is a second norm.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function checkParallelShape(
  parallel: DecoderWeightFlags["parallel"],
  { norms, parallel: flag }: DecoderWeightFlags,
): void {
  if (!parallel) return;
  if (norms === "after")
    throw invalidArgument("decoderFamily.shape.parallel", 'norms "before" or "around" in `flags`', norms);
  if ((parallel === "one norm") !== (flag === "one norm"))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `decoderFamily.shape.parallel: expected ${flag ? `"${flag}"` : '"two norms"'} as \`flags\` say, got "${parallel}"`,
    );
}
