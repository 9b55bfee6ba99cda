/** Returns a generator of uniform random 32-bit integers: xoshiro128** (Blackman & Vigna 2018), seeded by splitmix32. */
export function generator(seed: number): () => number {
  let z = seed >>> 0;
  const s = Uint32Array.from({ length: 4 }, () => {
    z = (z + 0x9e3779b9) >>> 0;
    let x = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return x ^ (x >>> 15);
  });
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  return () => {
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotate(s[3]!, 11);
    return result;
  };
}

/** Draws from N(0, deviation²) with the Box–Muller transform. */
export function normal(count: number, deviation: number, next: () => number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    // `+ 1` avoids log(0).
    const radius = deviation * Math.sqrt(-2 * Math.log((next() + 1) / 4294967296));
    const angle = (2 * Math.PI * next()) / 4294967296;
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** Draws uniform numbers from [−bound, bound]. */
export function uniform(count: number, bound: number, next: () => number): Float32Array {
  return Float32Array.from({ length: count }, () => bound * (next() / 2147483648 - 1));
}

/**
 * Reduces a seed of up to 53 bits to 32. Seeds below 2³² stay the same. The upper bits of larger seeds are hashed in,
 * not cut off.
 */
export function seedBits(seed: number): number {
  const upper = Math.max(0, Math.floor(seed / 2 ** 32));
  return (seed ^ Math.imul(upper, 0x9e3779b1)) >>> 0;
}

/** Derives the seed of a weight from its name and a model's seed (FNV-1a), so that adding a weight does not change the others. */
export function seedOf(name: string, given: number): number {
  const seed = seedBits(given);
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return (h ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
}
