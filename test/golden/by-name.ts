// Weights derived from their names, as in scripts/golden/models.py.

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

/** Returns 12-bit fractions plus `around`. Matrices have fractions in [-1/4, 1/4), vectors in [-1/8, 1/8). */
export function weightByName(name: string, shape: readonly number[], around: number): Float32Array {
  const count = shape.reduce((n, d) => n * d, 1);
  const start = fnv(name);
  return Float32Array.from({ length: count }, (_, i) => {
    const unit = (hash32(start + i) >>> 20) / 4096 - 0.5;
    return unit * (shape.length > 1 ? 0.5 : 0.25) + around;
  });
}

/** Random bytes, with MXFP4 scales around 2⁻⁶. Must equal byte_tensor in scripts/golden/decoder.py. */
export function bytesByName(name: string, shape: readonly number[]): Uint8Array {
  const count = shape.reduce((n, d) => n * d, 1);
  const start = fnv(name);
  const scales = name.endsWith("_scales");
  return Uint8Array.from({ length: count }, (_, i) => {
    const bits = hash32(start + i);
    return scales ? 119 + (bits >>> 30) : bits >>> 24;
  });
}
