// Scores given tokens: computes their log-probabilities, each given the tokens before it.
import type { KvCache } from "./cache/kv-cache.ts";
import { PREFILL_SHAPE, prefillRuns } from "./prefill-runs.ts";
import { scoreProgram } from "./programs.ts";

/** A sequence with tokens to score. */
interface ScoredSequence {
  slot: number;
  /** All ids of the sequence. */
  sequence: readonly number[];
  /** Number of leading ids that the slot already holds. */
  held: number;
  /** Number of ids after `held` that are run. The row of an id scores the token after it. */
  rows: number;
  /** Index of the first token to score. */
  first: number;
}

/** Log-probabilities of consecutive tokens of a sequence. */
interface Scores<T> {
  item: T;
  /** Index of the first of the tokens in the sequence. */
  index: number;
  logprobs: Float32Array;
}

/** Runs the sequences and yields the natural log-probabilities of their tokens. @throws HeddleError ABORTED */
export async function* scoreRuns<T extends ScoredSequence>(
  cache: KvCache,
  items: readonly T[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Scores<T>, void, undefined> {
  const missing = items.map((item) => {
    const { slot, sequence, held, rows } = item;
    return { slot, ids: sequence.slice(held, held + rows), length: sequence.length, item };
  });
  for (const run of prefillRuns(missing)) {
    const parts = run.map(({ ids, from, item }) => ({ item, start: item.held + from + 1, count: ids.length }));
    const targets = Int32Array.from(
      parts.flatMap(({ item: { sequence, first }, start, count }) =>
        Array.from({ length: count }, (_, i) => (start + i >= first ? (sequence[start + i] ?? -1) : -1)),
      ),
    );
    const { logprob } = await cache.run(scoreProgram, run, { shape: PREFILL_SHAPE, inputs: { targets }, signal });
    let row = 0;
    for (const { item, start, count } of parts) {
      const index = Math.max(start, item.first);
      const end = Math.min(start + count, item.sequence.length);
      if (index < end)
        yield { item, index, logprobs: (logprob as Float32Array).subarray(row + index - start, row + end - start) };
      row += count;
    }
  }
}
