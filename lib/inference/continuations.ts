import { HeddleError } from "../core/errors.ts";
import type { Model } from "../models/model.ts";
import { keysKeepLength } from "../models/rope-frequencies.ts";
import { KvCache, PREFILL_ROWS } from "./cache/kv-cache.ts";
import { scoreProgram } from "./programs.ts";
import type { Segment } from "./row-data.ts";

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
  for (let slot = 0; slot < cache.slots; slot++) cache.truncate(slot, 0);
  const rounds = Math.max(...groups.map((g) => g.continuations.length));
  for (let round = 0; round < rounds; round++) {
    const work = groups.flatMap(({ prompt, continuations }, slot): Pending[] => {
      const continuation = continuations[round];
      if (!continuation || continuation.length === 0) return [];
      // The prompt's last token is run again, because its row scores the continuation's first token.
      const ids = [...prompt, ...continuation];
      cache.truncate(slot, keysKeepLength(cache.model.config) ? 0 : prompt.length - 1);
      cache.fit(slot, ids.length);
      const held = cache.ids(slot).length;
      return [
        { slot, ids: ids.slice(held, -1), next: held, prompt: prompt.length, all: ids, into: out[slot]![round]! },
      ];
    });
    const longest = work.reduce((n, { all }) => Math.max(n, all.length), 0);
    if (longest > 0) await cache.reserve(longest);
    for (const part of runsOf(work)) await scoreRun(cache, part, signal);
  }
}

interface Pending {
  slot: number;
  /** Ids that must still be run. */
  ids: number[];
  /** Position of the first of these ids. */
  next: number;
  /** Number of the prompt's tokens. */
  prompt: number;
  all: readonly number[];
  /** Receives the log-probabilities of the continuation's tokens. */
  into: Float32Array;
}

/** Splits the work into runs of at most PREFILL_ROWS rows. */
function* runsOf(work: readonly Pending[]): Generator<Pending[]> {
  let run: Pending[] = [];
  let room = PREFILL_ROWS;
  for (const item of work) {
    for (let at = 0; at < item.ids.length; ) {
      const ids = item.ids.slice(at, at + room);
      run.push({ ...item, ids, next: item.next + at });
      at += ids.length;
      room -= ids.length;
      if (room > 0) continue;
      yield run;
      run = [];
      room = PREFILL_ROWS;
    }
  }
  if (run.length > 0) yield run;
}

async function scoreRun(cache: KvCache, part: readonly Pending[], signal: AbortSignal | undefined): Promise<void> {
  const segments: Segment[] = part.map(({ slot, ids, all }) => ({ slot, ids, length: all.length }));
  // A row scores the next token if that belongs to the continuation.
  const targets = Int32Array.from(
    part.flatMap(({ ids, next, prompt, all }) => ids.map((_, i) => (next + i + 1 >= prompt ? all[next + i + 1]! : -1))),
  );
  const shape = { rows: PREFILL_ROWS, logitRows: 1, top: 0 };
  const { logprob } = await cache.run(scoreProgram, segments, { shape, inputs: { targets }, signal });
  let row = 0;
  for (const { ids, next, prompt, into } of part)
    for (let i = 0; i < ids.length; i++, row++) {
      const place = next + i + 1 - prompt;
      if (place < 0) continue;
      const value = logprob![row]!;
      if (!Number.isFinite(value))
        throw new HeddleError("NUMERICAL", `score: expected finite log-probabilities, got ${value}`);
      into[place] = value;
    }
}
