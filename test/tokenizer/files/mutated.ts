// Random damage to files, deterministic for a seed: truncation, changed bytes, removed, doubled or swapped ranges, wrong numbers.

const oddNumbers = [
  "-1",
  "0",
  "1e308",
  "4294967295",
  "4294967296",
  "9007199254740993",
  "0.5",
  "null",
  '""',
  "[]",
  "{}",
];
const oddTexts = [
  "\0",
  "\ufeff",
  "\ud800",
  "\\ud800",
  '"',
  "\\",
  " ",
  "\n",
  "\r",
  "▁",
  "\u{10ffff}",
  "[",
  "{",
  "%",
  "==",
];

/** Returns a copy with one to four random changes: truncation, a removed, doubled, inserted or swapped range, or changed bytes. */
export function damagedBytes(bytes: Uint8Array, random: () => number): Uint8Array {
  const below = (count: number) => Math.floor(random() * count);
  let out = Buffer.from(bytes);
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(out.length + 1);
    const length = 1 + below(random() < 0.8 ? 8 : out.length + 1);
    const [before, part, after] = [out.subarray(0, at), out.subarray(at, at + length), out.subarray(at + length)];
    switch (below(7)) {
      case 0:
        out = Buffer.from(before);
        break;
      case 1:
        out = Buffer.concat([before, after]);
        break;
      case 2:
        out = Buffer.concat([before, part, part, after]);
        break;
      case 3:
        out = Buffer.concat([before, Buffer.from(Array.from({ length: 1 + below(4) }, () => below(256))), after]);
        break;
      case 4:
        out = Buffer.concat([after, part, before]);
        break;
      default:
        for (let flips = 1 + below(3); flips > 0 && out.length > 0; flips--) {
          const place = below(out.length);
          // Extreme byte values, a bit flip, or any byte.
          out[place] = [0, 0xff, 0x7f, 0x80, out[place]! ^ (1 << below(8)), below(256)][below(6)]!;
        }
    }
  }
  return new Uint8Array(out);
}

/** Returns a damaged copy of a text: changed bytes, numbers replaced by extreme ones, or inserted text that confuses parsers. */
export function damagedText(text: string, random: () => number): string {
  const below = (count: number) => Math.floor(random() * count);
  if (random() < 0.3) return Buffer.from(damagedBytes(Buffer.from(text), random)).toString("utf8");
  let out = text;
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const at = below(out.length + 1);
    if (random() < 0.5) {
      const numbers = [...out.matchAll(/-?\d+(?:\.\d+)?/gu)];
      const number = numbers[below(numbers.length)];
      if (!number) continue;
      const odd = oddNumbers[below(oddNumbers.length)]!;
      out = out.slice(0, number.index) + odd + out.slice(number.index + number[0].length);
    } else {
      out = out.slice(0, at) + oddTexts[below(oddTexts.length)] + out.slice(at + below(3));
    }
  }
  return out;
}
