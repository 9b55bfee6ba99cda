import { inSlices } from "../core/slices.ts";
import type { PoolingMode } from "../formats/config/config.ts";

/** One or several pooling modes, or `all` for every token's hidden states. */
export type Pooling = PoolingMode | readonly PoolingMode[] | "all";

/** The rows that a run returns: each text's first or last row, weighted sums of its rows, or all rows. */
export type PooledRows = "first" | "last" | "sums" | "all";

/** Returns pooling modes as a list, which is empty for `all`. */
export function modesOf(pooling: Pooling): readonly PoolingMode[] {
  if (pooling === "all") return [];
  return typeof pooling === "string" ? [pooling] : pooling;
}

/**
 * Returns which rows the pooling modes need. All modes except `max` are linear in the rows, and are computed in the
 * graph.
 */
export function pooledRows(pooling: Pooling): PooledRows {
  const modes = modesOf(pooling);
  if (pooling === "all" || modes.includes("max")) return "all";
  const [only, ...others] = modes;
  return others.length === 0 && (only === "first" || only === "last") ? only : "sums";
}

/**
 * The part of a text in a run: `count` of its `tokens`, starting at token `begin`. The text's first `from` tokens,
 * those of a prompt, are not pooled.
 */
export interface TextStretch {
  tokens: number;
  begin: number;
  count: number;
  from: number;
}

/** Returns the weight of each row of a run in each text's pooled vectors. @returns (texts · modes, rows) */
export function poolingMatrix(texts: readonly TextStretch[], pooling: Pooling): Float32Array {
  const modes = modesOf(pooling) as readonly LinearMode[];
  const rows = texts.reduce((n, { count }) => n + count, 0);
  const matrix = new Float32Array(texts.length * modes.length * rows);
  let first = 0;
  for (const [t, { tokens, begin, count, from }] of texts.entries()) {
    for (const [m, mode] of modes.entries())
      matrix.set(poolWeights(mode, tokens, from).subarray(begin, begin + count), (t * modes.length + m) * rows + first);
    first += count;
  }
  return matrix;
}

/**
 * Stores the results of a run in `out`, at the indices of the run's sequences. If the modes include `max`, pools the rows first. Yields to
 * the event loop between sequences.
 * @throws HeddleError ABORTED
 */
export async function placeInto(
  out: Float32Array[],
  sequences: readonly number[],
  results: readonly Float32Array[],
  {
    pooling,
    promptLengths = [],
    width,
    signal,
  }: {
    pooling: Pooling;
    promptLengths?: readonly number[] | undefined;
    width: number;
    signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const modes = modesOf(pooling);
  const reduces = modes.includes("max");
  function* work() {
    for (const [place, i] of sequences.entries()) {
      const given = results[place]!;
      out[i] = reduces ? poolTokens(given, width, { modes, from: promptLengths[i] ?? 0 }) : given;
      yield;
    }
  }
  await inSlices(work(), "run", signal);
}

/**
 * Pools the hidden states of a text's tokens with several modes. Used if `max` is among them, which needs all rows.
 * @param rows (tokens, width)
 * @param from number of leading tokens (a prompt's) that are not pooled, except that "first" keeps the first token
 * @returns (modes · width)
 */
function poolTokens(
  rows: Float32Array,
  width: number,
  { modes, from }: { modes: readonly PoolingMode[]; from: number },
): Float32Array {
  const tokens = rows.length / width;
  const out = new Float32Array(modes.length * width);
  for (const [m, mode] of modes.entries()) {
    const to = out.subarray(m * width, (m + 1) * width);
    if (mode === "max") {
      to.fill(Number.NEGATIVE_INFINITY);
      for (let t = from; t < tokens; t++)
        for (let c = 0; c < width; c++) {
          const v = rows[t * width + c]!;
          // NaN replaces every number and is not replaced, so that it is detected.
          if (v > to[c]! || Number.isNaN(v)) to[c] = v;
        }
    } else to.set(weighted(rows, width, poolWeights(mode, tokens, from)));
  }
  return out;
}

/** Pooling modes that are weighted sums of a text's rows. */
type LinearMode = Exclude<PoolingMode, "max">;

/**
 * Returns the weight of each token in the sum. Tokens before `from` have weight 0, except that "first" keeps the first
 * token.
 */
export function poolWeights(mode: LinearMode, tokens: number, from = 0): Float64Array {
  const weights = new Float64Array(tokens);
  const count = tokens - from;
  if (mode === "first" || mode === "last") weights[mode === "first" ? 0 : tokens - 1] = 1;
  else if (mode !== "weighted_mean") weights.fill(1 / (mode === "mean" ? count : Math.sqrt(count)), from);
  else {
    // Weights grow linearly with the position (SGPT, Muennighoff 2022). `sum` adds the positions from + 1 to tokens.
    const sum = ((from + 1 + tokens) * count) / 2;
    for (let t = from; t < tokens; t++) weights[t] = (t + 1) / sum;
  }
  return weights;
}

function weighted(rows: Float32Array, width: number, weights: Float64Array): Float64Array {
  const sums = new Float64Array(width);
  for (const [t, weight] of weights.entries())
    if (weight !== 0) for (let c = 0; c < width; c++) sums[c]! += weight * rows[t * width + c]!;
  return sums;
}

/**
 * Returns groups of indices of sequences that share a run, with similar lengths together. A sequence longer than `rows` forms a group
 * alone.
 */
export function groupsOf(
  sequences: readonly ArrayLike<number>[],
  limits: { sequences: number; rows: number },
): number[][] {
  const order = sequences.map((_, i) => i).sort((a, b) => sequences[a]!.length - sequences[b]!.length);
  const groups: number[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const i of order) {
    const { length } = sequences[i]!;
    const open = groups.at(-1);
    if (!open || open.length === limits.sequences || rows + length > limits.rows) {
      groups.push([i]);
      rows = length;
    } else {
      open.push(i);
      rows += length;
    }
  }
  return groups;
}

/** Splits the vectors of a run's sequences. A sequence has `counts[i]` vectors. */
export function vectorsOf(whole: Float32Array, counts: readonly number[]): Float32Array[] {
  const each = whole.length / counts.reduce((a, b) => a + b, 0);
  let at = 0;
  return counts.map((count) => {
    at += count * each;
    return whole.slice(at - count * each, at);
  });
}
