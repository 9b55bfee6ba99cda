import { pause } from "../core/slices.ts";

/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). A draw is a pure
 * function of (seed, stream, index). A position in the data is therefore a few integers, not the state of a generator.
 */

const PHILOX_M0 = 0xd2511f53;
const PHILOX_M1 = 0xcd9e8d57;
const PHILOX_W0 = 0x9e3779b9;
const PHILOX_W1 = 0xbb67ae85;

/**
 * Computes a block of Philox4x32-10.
 *
 * @param counter four unsigned 32-bit words
 * @param key two unsigned 32-bit words
 * @returns four unsigned 32-bit words
 */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(PHILOX_M0, c0);
    const low0 = Math.imul(PHILOX_M0, c0) >>> 0;
    const high1 = multiplyHigh(PHILOX_M1, c2);
    const low1 = Math.imul(PHILOX_M1, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + PHILOX_W0) >>> 0;
    k1 = (k1 + PHILOX_W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Returns the upper 32 bits of the 64-bit product of two unsigned 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** The stream numbers, one per purpose, so that draws for different purposes are independent. */
export const Stream = { shards: 1, documents: 2, split: 3, rollouts: 8, mixture: 9, rows: 10 } as const;

/**
 * Returns a uniform number in [0, 1) with 53 bits, a pure function of its arguments.
 *
 * @param seed any integer of up to 53 bits
 * @param stream purpose of the draw, one of `Stream`
 * @param major,minor the position of the draw within the stream, integers in [0, 2^32)
 */
export function uniformAt(seed: number, stream: number, major: number, minor: number): number {
  const [a, b] = philox([minor >>> 0, major >>> 0, stream >>> 0, 0], keyOf(seed));
  return ((a >>> 5) * 0x4000000 + (b >>> 6)) / 2 ** 53;
}

/**
 * Returns a random permutation of 0 … n-1 (Fisher–Yates), which depends on its arguments only.
 *
 * @param n number of elements, less than 2^32
 * @param major,part identify the permutation in the stream, for instance by epoch and group of shards
 */
export async function permutation(
  n: number,
  seed: number,
  stream: number,
  major: number,
  part = 0,
): Promise<Uint32Array> {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  const key = keyOf(seed);
  const words = new Uint32Array(4);
  for (let i = n - 1; i > 0; i--) {
    // A block gives the 32-bit draws of four i with the same i >> 2. The loop goes down, so i & 3 = 3 comes first.
    if ((i & 3) === 3 || i === n - 1) words.set(philox([i >>> 2, major >>> 0, stream >>> 0, part >>> 0], key));
    const j = Math.floor((words[i & 3]! / 2 ** 32) * (i + 1));
    const moved = order[i]!;
    order[i] = order[j]!;
    order[j] = moved;
    if ((i & 0xfff) === 0) await pause();
  }
  return order;
}

function keyOf(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}
