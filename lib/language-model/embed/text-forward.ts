import { HeddleError } from "../../core/errors.ts";
import type { Inputs } from "../../graph/index.ts";
import { KvCache, PREFILL_ROWS } from "../../inference/cache/kv-cache.ts";
import { MAX_SLOTS } from "../../inference/cache/slots.ts";
import {
  groupsOf,
  modesOf,
  type Pooling,
  placeInto,
  pooledRows,
  poolingMatrix,
  type TextStretch,
  vectorsOf,
} from "../../inference/pooling.ts";
import { PREFILL_SHAPE, prefillRuns } from "../../inference/prefill-runs.ts";
import { pooledProgram } from "../../inference/programs.ts";
import { promptName } from "../../inference/sequence.ts";
import { isEncoder } from "../../models/family.ts";
import type { ModelView } from "../../models/model-view.ts";
import { encodedOutputs } from "./encoder-forward.ts";

/** Options of a forward pass whose outputs are pooled. */
export interface PooledOptions {
  pooling: Pooling;
  /**
   * Whether to return the classifier's logits instead of hidden states. Supports `all`, or one pooling mode other than
   * `max`.
   */
  head?: boolean;
  contextLength: number;
  /** Number of leading tokens of each sequence that are not pooled. */
  promptLengths?: readonly number[] | undefined;
  /** Token type of each id, for encoders with several token types. Default: 0. */
  typeIds?: readonly ArrayLike<number>[] | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Checks the lengths of texts.
 * @throws HeddleError INVALID_ARGUMENT for a text without tokens, CONTEXT_OVERFLOW for a text with too many tokens
 */
export function checkLengths(sequences: readonly ArrayLike<number>[], contextLength: number): void {
  for (const [i, ids] of sequences.entries()) {
    const name = promptName(i, sequences.length, "text");
    if (ids.length === 0) throw new HeddleError("INVALID_ARGUMENT", `${name}: expected at least one token, got none`);
    if (ids.length > contextLength)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `${name}: expected at most ${contextLength} tokens, the context length, got ${ids.length}`,
      );
  }
}

/**
 * Returns one vector per sequence: its pooled hidden states (modes · width), or the classifier's logits (labels). With
 * pooling `all`, returns the vectors of each sequence's tokens, end to end. Sequences of any lengths share runs without
 * padding.
 */
export async function pooledOutputs(
  model: ModelView,
  sequences: readonly ArrayLike<number>[],
  options: PooledOptions,
): Promise<Float32Array[]> {
  const { contextLength, promptLengths = [] } = options;
  checkLengths(sequences, contextLength);
  if (sequences.length === 0) return [];
  if (isEncoder(model)) return encodedOutputs(model, sequences, options);
  const out: Float32Array[] = new Array(sequences.length);
  const longest = sequences.reduce((n, ids) => Math.max(n, ids.length), 0);
  const slots = Math.min(sequences.length, MAX_SLOTS);
  const cache = new KvCache(model, { slots, contextLength, capacity: longest });
  try {
    for (const group of groupsOf(sequences, { sequences: slots, rows: PREFILL_ROWS })) {
      const results = await runGroup(
        cache,
        group.map((i) => sequences[i]!),
        group.map((i) => promptLengths[i] ?? 0),
        options,
      );
      await placeInto(out, group, results, { ...options, width: model.config.hiddenSize });
    }
  } finally {
    cache.dispose();
  }
  return out;
}

async function runGroup(
  cache: KvCache,
  sequences: readonly ArrayLike<number>[],
  promptLengths: readonly number[],
  { pooling, head = false, signal }: PooledOptions,
): Promise<Float32Array[]> {
  const { model } = cache;
  const kind = pooledRows(pooling);
  const modes = modesOf(pooling).length;
  const program = pooledProgram(kind, { head, modes });
  const width = model.config.hiddenSize;
  const count = sequences.length;
  cache.clear();
  const parts: Float32Array[] = [];
  let carried = kind === "sums" ? new Float32Array(count * modes * width) : undefined;
  // Only a group of one sequence takes more than one run. A causal sequence's first token sees only itself, so "first"
  // needs one run.
  const runs = [...prefillRuns(sequences.map((ids, slot) => ({ slot, ids: Array.from(ids), length: ids.length })))];
  if (kind === "first") runs.length = 1;
  for (const [run, segments] of runs.entries()) {
    const wanted = new Int32Array(count);
    const stretches: TextStretch[] = [];
    let first = 0;
    for (const [s, { ids, from }] of segments.entries()) {
      wanted[s] = kind === "first" ? first : first + ids.length - 1;
      stretches.push({ tokens: sequences[s]!.length, begin: from, count: ids.length, from: promptLengths[s]! });
      first += ids.length;
    }
    const inputs: Inputs =
      kind === "all" ? {} : carried ? { pool: poolingMatrix(stretches, pooling), carried } : { wanted };
    const results = await cache.run(program, segments, { shape: PREFILL_SHAPE, inputs, signal });
    const made = (head ? results.logits : results.pooled) as Float32Array;
    if (carried) carried = results.pooled as Float32Array<ArrayBuffer>;
    if (kind === "all" || run === runs.length - 1) parts.push(made);
  }
  const whole = parts.length === 1 ? parts[0]! : concatenated(parts);
  return vectorsOf(
    whole,
    sequences.map((ids) => (kind === "all" ? ids.length : 1)),
  );
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
