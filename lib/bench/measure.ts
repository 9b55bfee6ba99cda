import { throwIfAborted } from "../core/errors.ts";
import type { Ceilings } from "./ceilings.ts";
import type { BenchCase, BenchResult } from "./types.ts";

/**
 * Times a case. Each round also measures the machine's speed just before and after the case, because the speed drifts
 * on shared machines. The first round is a warm-up and does not count.
 */
export async function measure(
  bench: BenchCase,
  ceilings: Ceilings,
  { rounds, signal }: { rounds: number; signal?: AbortSignal | undefined },
): Promise<BenchResult> {
  const { name, unit, work, bound } = bench;
  const values: number[] = [];
  const shares: number[] = [];
  const relative: number[] = [];
  const reached: number[] = [];
  const machine = async () => ({
    ceiling: bound ? await ceilings.measure(bound.ceiling) : undefined,
    speed: bound?.ceiling === "read" ? undefined : await ceilings.machineSpeed(bound !== undefined),
  });
  for (let round = -1; round < rounds; round++) {
    throwIfAborted(signal, "bench");
    const before = await machine();
    const seconds = await bench.run();
    const after = await machine();
    if (round < 0) continue;
    const ceiling = mean(before.ceiling, after.ceiling);
    const speed = mean(before.speed, after.speed) ?? ceiling!;
    values.push(work / seconds);
    if (bound) {
      shares.push(bound.amount / seconds / ceiling!);
      reached.push(ceiling!);
    }
    relative.push(work / seconds / speed);
  }
  return {
    name,
    value: median(values),
    unit,
    roofline: bound ? median(shares) : null,
    ceiling: bound ? { name: bound.ceiling, value: median(reached) } : null,
    interval: medianInterval(values),
    relative: { value: median(relative), interval: medianInterval(relative) },
    rounds,
  };
}

function mean(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : (a + b) / 2;
}

/** Returns the median; of an even number of values, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Returns the narrowest pair of order statistics that contains the median with at least this confidence, for any
 * distribution (the sign test's interval). With too few values, returns the extremes.
 */
export function medianInterval(values: readonly number[], confidence = 0.9): [low: number, high: number] {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let skipped = 0;
  // `tail` is the sum of C(n, i) / 2ⁿ over i < k, which is the probability that the median lies below the kth value.
  for (let term = 0.5 ** n, tail = term, k = 1; 2 * k < n && 1 - 2 * tail >= confidence; k++) {
    skipped = k - 1;
    term = (term * (n - k + 1)) / k;
    tail += term;
  }
  return [sorted[skipped]!, sorted[n - 1 - skipped]!];
}
