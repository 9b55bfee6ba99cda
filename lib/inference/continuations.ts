import { HeddleError } from "../core/errors.ts";
import type { Model } from "../models/model.ts";
import { keysKeepLength } from "../models/rope-frequencies.ts";
import { KvCache } from "./cache/kv-cache.ts";
import { scoreRuns } from "./score-runs.ts";

/** Several continuations of one prompt. */
export interface Continuations {
  /** The prompt's ids, at least one. */
  prompt: readonly number[];
  continuations: readonly (readonly number[])[];
}

/** Maximum number of prompts whose continuations are scored in the same runs. */
const SCORED_TOGETHER = 16;

/**
 * Computes natural log-probabilities of continuations' tokens, each given the prompt and the tokens before it. A prompt
 * is computed once for all its continuations, or with dynamic RoPE once for each. Prompts share runs.
 * @returns for each group and continuation, one number per token
 * @throws HeddleError INVALID_ARGUMENT for an empty prompt, CONTEXT_OVERFLOW, NUMERICAL, ABORTED
 */
export async function scoreContinuations(
  model: Model,
  groups: readonly Continuations[],
  options: { contextLength: number; signal?: AbortSignal | undefined; onProgress?: (done: number) => void },
): Promise<Float32Array[][]> {
  const { contextLength } = options;
  for (const { prompt, continuations } of groups) {
    if (prompt.length === 0)
      throw new HeddleError("INVALID_ARGUMENT", "prompt: expected at least one token before a continuation, got none");
    const longest = continuations.reduce((n, ids) => Math.max(n, ids.length), 0);
    if (prompt.length + longest > contextLength)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `prompt: expected at most ${contextLength} tokens with its continuation, got ${prompt.length + longest}`,
      );
  }
  const out = groups.map(({ continuations }) => continuations.map((ids) => new Float32Array(ids.length)));
  if (groups.length === 0) return out;
  const slots = Math.min(groups.length, SCORED_TOGETHER);
  const cache = new KvCache(model, { slots, contextLength });
  try {
    for (let from = 0; from < groups.length; from += slots) {
      await scoreBatch(cache, groups.slice(from, from + slots), out.slice(from, from + slots), options.signal);
      options.onProgress?.(Math.min(groups.length, from + slots));
    }
  } finally {
    cache.dispose();
  }
  return out;
}

/** Scores at most one group per slot. Each round scores one continuation of every group. */
async function scoreBatch(
  cache: KvCache,
  groups: readonly Continuations[],
  out: readonly Float32Array[][],
  signal: AbortSignal | undefined,
): Promise<void> {
  cache.clear();
  const rounds = Math.max(...groups.map((g) => g.continuations.length));
  for (let round = 0; round < rounds; round++) {
    const work = groups.flatMap(({ prompt, continuations }, slot) => {
      const continuation = continuations[round];
      if (!continuation || continuation.length === 0) return [];
      // The prompt's last token is run again, because its row scores the continuation's first token.
      const sequence = [...prompt, ...continuation];
      cache.truncate(slot, keysKeepLength(cache.model.config) ? 0 : prompt.length - 1);
      cache.fit(slot, sequence.length);
      const held = cache.ids(slot).length;
      const rows = sequence.length - 1 - held;
      return [{ slot, sequence, held, rows, first: prompt.length, into: out[slot]![round]! }];
    });
    const longest = work.reduce((n, { sequence }) => Math.max(n, sequence.length), 0);
    if (longest > 0) await cache.reserve(longest);
    for await (const { item, index, logprobs } of scoreRuns(cache, work, signal)) {
      const broken = logprobs.find((value) => !Number.isFinite(value));
      if (broken !== undefined)
        throw new HeddleError("NUMERICAL", `score: expected finite log-probabilities, got ${broken}`);
      item.into.set(logprobs, index - item.first);
    }
  }
}
