// Sets of code points, and their encoding in UTF-8 and JSON strings.

/** Ranges of code points, both ends included, in ascending order and not adjacent. */
export type CodePoints = readonly (readonly [low: number, high: number])[];

/** A sequence of byte ranges: each byte is from `low` to `high`, both included. */
export type ByteSequence = readonly (readonly [low: number, high: number])[];

/** The highest code point of Unicode. */
export const LAST_CODE_POINT = 0x10ffff;

/** Returns the code points that are in any of the sets. */
export function union(...sets: CodePoints[]): CodePoints {
  const sorted = sets.flat().sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = out.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else out.push([low, high]);
  }
  return out;
}

/** Returns all code points that are not in the set. */
export function complement(set: CodePoints): CodePoints {
  const out: [number, number][] = [];
  let next = 0;
  for (const [low, high] of set) {
    if (low > next) out.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= LAST_CODE_POINT) out.push([next, LAST_CODE_POINT]);
  return out;
}

function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return complement(union(complement(a), complement(b)));
}

/** Ranges of code points with the same length in UTF-8, without the surrogates, which UTF-8 cannot encode. */
const PLAIN: CodePoints = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, LAST_CODE_POINT],
];

/** Returns the UTF-8 encoding of a set. Each code point is encoded by exactly one of the sequences. Surrogates are omitted. */
export function utf8Of(set: CodePoints): ByteSequence[] {
  const out: ByteSequence[] = [];
  for (const plain of PLAIN)
    for (const [low, high] of intersection(set, [plain])) split([...encode(low)], [...encode(high)], [], out);
  return out;
}

function encode(codePoint: number): Buffer {
  return Buffer.from(String.fromCodePoint(codePoint));
}

/**
 * Appends sequences of byte ranges that match exactly the byte strings from `low` to `high`, which have the same length. The bytes after
 * the first are restricted only if the first byte is that of `low` or of `high`.
 */
function split(low: number[], high: number[], before: ByteSequence, out: ByteSequence[]): void {
  const [a, ...lows] = low;
  const [b, ...highs] = high;
  if (lows.length === 0) {
    out.push([...before, [a!, b!]]);
    return;
  }
  const least = lows.map(() => 0x80);
  const most = lows.map(() => 0xbf);
  if (a === b) {
    split(lows, highs, [...before, [a!, a!]], out);
    return;
  }
  const openLow = lows.every((byte) => byte === 0x80);
  const openHigh = highs.every((byte) => byte === 0xbf);
  if (!openLow) split(lows, most, [...before, [a!, a!]], out);
  const first = openLow ? a! : a! + 1;
  const last = openHigh ? b! : b! - 1;
  if (first <= last) split(least, most, [...before, [first, last]], out);
  if (!openHigh) split(least, highs, [...before, [b!, b!]], out);
}

/** Code points that JSON.stringify escapes. */
const ESCAPED: CodePoints = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];

/** Returns the encoding of a set's code points as in JSON.stringify, within a string. */
export function jsonOf(set: CodePoints): ByteSequence[] {
  const out = utf8Of(intersection(set, complement(ESCAPED)));
  for (const [low, high] of intersection(set, ESCAPED))
    for (let c = low; c <= high; c++)
      out.push(Array.from(Buffer.from(JSON.stringify(String.fromCharCode(c)).slice(1, -1)), (byte) => [byte, byte]));
  return out;
}
