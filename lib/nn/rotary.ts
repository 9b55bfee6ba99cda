import { rope, ropeFrequencies, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

/** The RoPE of a layer. @experimental */
export interface Rotary {
  /** Name of the constant with the frequencies, (R/2) f32. */
  table: string;
  /** Factor of cosine and sine (the attention factor of YaRN and LongRoPE). */
  scale: number;
  /**
   * Set if frequencies depend on the sequence's length. Beyond `original` positions they are the constant `long` (LongRoPE), or scaled by
   * `factor` (dynamic NTK).
   */
  lengths?: { original: number; long?: string | undefined; factor?: number | undefined } | undefined;
}

/** Frequencies by forward context and table, because all layers of a pass share them. */
const made = new WeakMap<ForwardContext, Map<string, Value>>();

function frequenciesOf(context: ForwardContext, { table, lengths }: Rotary): Value {
  const fixed = context.constant(table);
  if (!lengths) return fixed;
  let known = made.get(context);
  if (!known) {
    known = new Map();
    made.set(context, known);
  }
  let found = known.get(table);
  if (!found) {
    const { original, factor, long } = lengths;
    found = ropeFrequencies(fixed, context.lengths(), {
      original,
      factor,
      long: long === undefined ? undefined : context.constant(long),
    });
    known.set(table, found);
  }
  return found;
}

/**
 * Applies RoPE to each head.
 * @param x (rows, heads, width)
 * @param interleaved whether a pair is two adjacent dimensions of a head instead of one dimension of each half.
 * "input": pairs are adjacent in x, but the result has the first dimensions of all pairs in one half and the second ones in the other
 */
export function rotate(
  context: ForwardContext,
  x: Value,
  rotary: Rotary,
  interleaved: boolean | "input" = false,
): Value {
  return rope(x, context.positions, frequenciesOf(context, rotary), { scale: rotary.scale, interleaved });
}
