import { rope, ropeFrequencies, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

/** Rotary positions of a layer. */
export interface Rotary {
  /** The constant that holds the frequencies, (R/2) f32. */
  table: string;
  /** Multiplies cosine and sine (the attention factor of YaRN and LongRoPE). */
  scale: number;
  /** Where frequencies depend on how long the sequence is: beyond `original`, the table `long` (LongRoPE) or dynamic NTK. */
  lengths?: { original: number; long?: string | undefined; factor?: number | undefined } | undefined;
}

/** Frequencies made once a trace, however many layers turn by them. */
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
 * Turns each head by its row's position.
 * @param x (rows, heads, width)
 * @param interleaved whether neighbours of a head turn together instead of its halves; "input": those of x do, and the result has
 * them as halves
 */
export function rotate(
  context: ForwardContext,
  x: Value,
  rotary: Rotary,
  interleaved: boolean | "input" = false,
): Value {
  return rope(x, context.positions, frequenciesOf(context, rotary), { scale: rotary.scale, interleaved });
}
