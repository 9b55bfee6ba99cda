import { throwIfAborted } from "../core/errors.ts";
import { type KvCache, PREFILL_ROWS } from "./cache/kv-cache.ts";
import { prefillProgram } from "./programs.ts";
import type { Segment } from "./row-data.ts";

/** The shape of a cache's programs. */
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

  /** Returns once the run before has ended; of a cache that takes no runs ahead, this one. */
  async start(segments: readonly Segment[], deterministic: boolean, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const { cache, last } = this;
    const shape = runShape(cache, { deterministic });
    if (!cache.takesRunsAhead) {
      await cache.run(prefillProgram, segments, { shape, signal });
      return;
    }
    const { done } = cache.start(prefillProgram, segments, { shape, signal });
    done.catch(() => {}); // whoever waits for it is told
    this.last = done;
    await last;
  }

  /** Waits for the last one. */
  async settled(): Promise<void> {
    const { last } = this;
    this.last = undefined;
    await last;
  }
}

/** Runs ids through the model for their keys and values alone, a chunk a run. @param options.length as Segment's */
export async function prefill(
  cache: KvCache,
  slot: number,
  ids: readonly number[],
  { signal, length = cache.ids(slot).length + ids.length }: { signal?: AbortSignal | undefined; length?: number } = {},
): Promise<void> {
  const ahead = new PromptsAhead(cache);
  try {
    for (let i = 0; i < ids.length; i += PREFILL_ROWS)
      await ahead.start([{ slot, ids: ids.slice(i, i + PREFILL_ROWS), length }], false, signal);
  } catch (error) {
    await ahead.settled().catch(() => {});
    throw error;
  }
  await ahead.settled();
}
