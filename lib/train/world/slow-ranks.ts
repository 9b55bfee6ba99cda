/** Number of steps that a comparison spans. */
const WINDOW = 20;
/** A rank is slow if it computes this many times as long as the median rank. */
const RATIO = 1.5;
/** Differences below this many seconds a step are noise. */
const MIN_SECONDS = 0.02;

/** Finds ranks that make all others wait. */
export class SlowRanks {
  private readonly seconds: number[];
  private steps = 0;
  private readonly warned = new Set<number>();

  constructor(ranks: number) {
    this.seconds = new Array(ranks).fill(0);
  }

  /**
   * Adds the seconds that each rank computed in a step.
   * @returns a warning for a rank that was slow over the last steps, once for each rank
   */
  add(seconds: readonly number[]): string | undefined {
    if (this.seconds.length < 2) return undefined;
    for (const [rank, own] of seconds.entries()) this.seconds[rank]! += own;
    this.steps += 1;
    if (this.steps < WINDOW) return undefined;
    const means = this.seconds.map((sum) => sum / this.steps);
    this.seconds.fill(0);
    this.steps = 0;
    const sorted = [...means].sort((a, b) => a - b);
    const median = sorted[Math.floor((sorted.length - 1) / 2)]!; // of two ranks, the faster one
    const slowest = means.indexOf(sorted.at(-1)!);
    const slow = means[slowest]!;
    if (this.warned.has(slowest) || slow < RATIO * median || slow - median < MIN_SECONDS) return undefined;
    this.warned.add(slowest);
    const ms = (value: number) => `${Math.round(value * 1000)} ms`;
    return `world: rank ${slowest} of ${means.length} is slow: it computes for ${ms(slow)} per step, and half of the ranks need at most ${ms(median)}; the other ranks wait for it`;
  }
}
