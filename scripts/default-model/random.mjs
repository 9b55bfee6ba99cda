/**
 * A seeded stream of choices: the same seed writes the same corpus, byte for byte, on every machine.
 * The generator is PCG-like: a 32-bit counter through the finaliser of MurmurHash3 (public domain).
 */
export class Random {
  /** @param {number} seed a 32-bit integer */
  constructor(seed) {
    this.seed = mix(seed ^ 0x9e3779b9);
    this.counter = 0;
  }

  /** @returns {number} a uniform 32-bit unsigned integer */
  bits() {
    this.counter = (this.counter + 1) >>> 0;
    return mix(mix(this.seed + Math.imul(this.counter, 0x9e3779b1)) ^ this.seed);
  }

  /** @param {number} n @returns {number} a uniform integer in [0, n) */
  below(n) {
    return Math.floor((this.bits() / 2 ** 32) * n);
  }

  /** @param {number} probability @returns {boolean} */
  chance(probability) {
    return this.bits() / 2 ** 32 < probability;
  }

  /** @template T @param {readonly T[]} items @returns {T} */
  pick(items) {
    return items[this.below(items.length)];
  }

  /** @template T @param {readonly T[]} items @param {number} count @returns {T[]} `count` different items, in random order */
  sample(items, count) {
    return this.shuffle([...items]).slice(0, count);
  }

  /** @template T @param {T[]} items @returns {T[]} the same array, shuffled in place */
  shuffle(items) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

/** @param {number} x @returns {number} */
function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
