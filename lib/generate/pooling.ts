import type { PoolingMode } from "../formats/config.ts";
import { inSlices } from "../tokenizer/slices.ts";

/** What a sequence's vectors become. */
export type Reduce = (rows: Float32Array, sequence: number) => Float32Array;

/** Puts what a run's vectors become in their sequences' places; between sequences the event loop has its turn. @throws HeddleError ABORTED */
export async function reduceInto(
  out: Float32Array[],
  sequences: readonly number[],
  results: readonly Float32Array[],
  { reduce, signal }: { reduce?: Reduce | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  function* work() {
    for (const [place, i] of sequences.entries()) {
      out[i] = reduce ? reduce(results[place]!, i) : results[place]!;
      yield;
    }
  }
  await inSlices(work(), "run", signal);
}

/**
 * What the hidden states of a text's tokens become, one way of pooling after the other.
 * @param rows (tokens, width) @param from tokens before it (a prompt's) are left out, but that the first token stays the first
 * @returns (ways · width)
 */
export function poolTokens(
  rows: Float32Array,
  width: number,
  { modes, from }: { modes: readonly PoolingMode[]; from: number },
): Float32Array {
  const tokens = rows.length / width;
  const out = new Float32Array(modes.length * width);
  for (const [m, mode] of modes.entries()) {
    const to = out.subarray(m * width, (m + 1) * width);
    if (mode === "first" || mode === "last") {
      const token = mode === "first" ? 0 : tokens - 1;
      to.set(rows.subarray(token * width, (token + 1) * width));
    } else if (mode === "max") {
      to.fill(Number.NEGATIVE_INFINITY);
      for (let t = from; t < tokens; t++)
        for (let c = 0; c < width; c++) {
          const v = rows[t * width + c]!;
          // What is no number is kept, to be named.
          if (!(v <= to[c]!)) to[c] = v;
        }
    } else to.set(weighted(rows, width, poolWeights(mode, tokens, from)));
  }
  return out;
}

/** What each token counts in a mean. Tokens before `from` count nothing. */
export function poolWeights(
  mode: Extract<PoolingMode, "mean" | "mean_sqrt_len" | "weighted_mean">,
  tokens: number,
  from = 0,
): Float64Array {
  const weights = new Float64Array(tokens);
  const count = tokens - from;
  if (mode !== "weighted_mean") return weights.fill(1 / (mode === "mean" ? count : Math.sqrt(count)), from);
  const sum = ((from + 1 + tokens) * count) / 2;
  for (let t = from; t < tokens; t++) weights[t] = (t + 1) / sum;
  return weights;
}

function weighted(rows: Float32Array, width: number, weights: Float64Array): Float64Array {
  const sums = new Float64Array(width);
  for (const [t, weight] of weights.entries())
    if (weight !== 0) for (let c = 0; c < width; c++) sums[c]! += weight * rows[t * width + c]!;
  return sums;
}
