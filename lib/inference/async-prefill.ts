import { throwIfAborted } from "../core/errors.ts";
import { type KvCache, PREFILL_ROWS } from "./cache/kv-cache.ts";
import { prefillRuns } from "./prefill-runs.ts";
import { prefillProgram } from "./programs.ts";
import type { Segment } from "./row-data.ts";

/** Returns the shape of a cache's programs. */
export function runShape(
  cache: KvCache,
  {
    draftTokens = 0,
    scored = 0,
    top = 0,
    deterministic,
  }: { draftTokens?: number; scored?: number; top?: number; deterministic: boolean },
) {
  return {
    rows: Math.max(PREFILL_ROWS, cache.slots) + cache.slots * draftTokens,
    logitRows: cache.slots * (1 + draftTokens) + scored,
    top,
    rowwise: deterministic,
  };
}

/** Runs parts of prompts with one part always queued after the running one, so that the device does not wait for JavaScript. */
export class PromptsAhead {
  private readonly cache: KvCache;
  private last: Promise<void> | undefined;

  constructor(cache: KvCache) {
    this.cache = cache;
  }

  /**
   * Starts a run, and returns when the previous one has ended. If the cache does not support queued runs, returns when the new run has
   * ended.
   */
  async start(segments: readonly Segment[], deterministic: boolean, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const { cache, last } = this;
    const shape = runShape(cache, { deterministic });
    if (!cache.takesRunsAhead) {
      await cache.run(prefillProgram, segments, { shape, signal });
      return;
    }
    const { done } = cache.start(prefillProgram, segments, { shape, signal });
    done.catch(() => {}); // the error is reported when the run is awaited
    this.last = done;
    await last;
  }

  /** Waits for the last run. */
  async settled(): Promise<void> {
    const { last } = this;
    this.last = undefined;
    await last;
  }
}

/** Runs ids through the model to fill the cache, one chunk per run. @param options.length as in Segment */
export async function prefill(
  cache: KvCache,
  slot: number,
  ids: readonly number[],
  { signal, length = cache.ids(slot).length + ids.length }: { signal?: AbortSignal | undefined; length?: number } = {},
): Promise<void> {
  const ahead = new PromptsAhead(cache);
  try {
    for (const run of prefillRuns([{ slot, ids, length }])) await ahead.start(run, false, signal);
  } catch (error) {
    await ahead.settled().catch(() => {});
    throw error;
  }
  await ahead.settled();
}
