import type { World } from "../world/world.ts";
import { watchBatches } from "./needed-memory.ts";
import type { BatchSource } from "./trainer.ts";

/** Wraps a source of batches. A source whose batches depend on the weights is read while the weights are whole (DividedWeights). */
export function wholeFor<Batch>(
  source: BatchSource<Batch>,
  whole: <T>(work: () => Promise<T>) => Promise<T>,
): Pick<BatchSource<Batch>, "next" | "skip"> {
  const { prefetch = true, skip } = source;
  const reads = () => !prefetch && source.readsModel !== false;
  return {
    next: (signal) => (reads() ? whole(() => source.next(signal)) : source.next(signal)),
    ...(skip && { skip: (signal) => (reads() ? whole(() => skip.call(source, signal)) : skip.call(source, signal)) }),
  };
}

/** Fetches this rank's batches of a step, including the replay's, and the positions after the batches of all ranks. */
export function fetch<Batch, Positions>(
  count: number,
  world: World,
  source: Pick<BatchSource<Batch>, "next" | "skip">,
  replay: BatchSource<unknown> | undefined,
  positions: () => Positions,
  signal: AbortSignal | undefined,
): Promise<{ batches: Batch[]; replayed: unknown[]; after: Positions }> {
  const work = (async () => {
    const batches: Batch[] = [];
    for (let i = 0; i < count; i++) {
      batches.push(await ownBatch(source, world, signal));
      watchBatches(i + 1, count);
    }
    const replayed = replay ? [await ownBatch(replay, world, signal)] : [];
    return { batches, replayed, after: positions() };
  })();
  work.catch(() => undefined); // reported when awaited
  return work;
}

/**
 * Reads one batch for each rank, in order, and returns this rank's. The ranks together consume the same data as one process with more
 * micro-batches.
 */
async function ownBatch<Batch>(
  source: Pick<BatchSource<Batch>, "next" | "skip">,
  world: World,
  signal: AbortSignal | undefined,
): Promise<Batch> {
  let batch: Batch | undefined;
  for (let rank = 0; rank < world.size; rank++) {
    if (rank === world.rank) batch = await source.next(signal);
    else await (source.skip?.(signal) ?? source.next(signal));
  }
  return batch!;
}
