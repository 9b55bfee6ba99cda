/**
 * A seeded stream of random choices. The same seed yields the same corpus, byte for byte, on every machine. The
 * generator hashes a counter, like SplitMix: multiples of 2^32 / golden ratio pass through the finalizer of MurmurHash3
 * (public domain). The parts of the recipe use the seeds 16 * seed + part, so that each has a separate stream.
 */
export class Random {
  private readonly seed: number;
  private counter = 0;

  /** @param seed a 32-bit integer */
  constructor(seed: number) {
    this.seed = mix(seed ^ 0x9e3779b9);
  }

  /** Returns a uniform 32-bit unsigned integer. */
  bits(): number {
    this.counter = (this.counter + 1) >>> 0;
    return mix(mix(this.seed + Math.imul(this.counter, 0x9e3779b1)) ^ this.seed);
  }

  /** Returns a uniform integer in [0, n). */
  below(n: number): number {
    return Math.floor((this.bits() / 2 ** 32) * n);
  }

  chance(probability: number): boolean {
    return this.bits() / 2 ** 32 < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Returns `count` different items, in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    return this.shuffle([...items]).slice(0, count);
  }

  /** Shuffles an array in place and returns it. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }
}

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
