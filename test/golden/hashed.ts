// Values derived from a name, as `weight` in scripts/golden/models.py.

/** 32-bit FNV-1a. */
function fnv(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of Buffer.from(name)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}

/** lowbias32 (Wellons, hash-prospector) with other constants. Must equal hash32 in scripts/golden/models.py. */
function hash32(x: number): number {
  let h = x >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad) >>> 0;
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97) >>> 0;
  return (h ^ (h >>> 15)) >>> 0;
}

/** Returns 12-bit fractions, exact in f32, plus `around`. Matrices have fractions in [−1/4, 1/4), vectors in [−1/8, 1/8). */
export function hashedWeight(name: string, shape: readonly number[], around = 0): Float32Array {
  const count = shape.reduce((n, d) => n * d, 1);
  const start = fnv(name);
  return Float32Array.from({ length: count }, (_, i) => {
    const unit = (hash32(start + i) >>> 20) / 4096 - 0.5;
    return unit * (shape.length > 1 ? 0.5 : 0.25) + around;
  });
}
