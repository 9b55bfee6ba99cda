// Files whose numbers are chosen so that they meet in one slot of a table load as fast as others: the hash is of the process.
import { describe, expect, it } from "vitest";
import { cpuMilliseconds, leastRatio } from "../../helpers/clock.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

/** The low 32 bits of a hash that anyone can compute: key × 2⁶⁴/φ, folded. `high`, `low`: halves of the key. */
function publicHash(high: number, low: number): number {
  const [oddHigh, oddLow] = [0x9e3779b9, 0x7f4a7c15];
  const [a, b, c, d] = [low & 0xffff, low >>> 16, oddLow & 0xffff, oddLow >>> 16];
  const middle = ((a * c) >>> 16) + ((a * d) & 0xffff) + ((b * c) & 0xffff);
  const carried = b * d + ((a * d) >>> 16) + ((b * c) >>> 16) + (middle >>> 16);
  const top = carried + Math.imul(low, oddHigh) + Math.imul(high, oddLow);
  return (Math.imul(low, oddLow) ^ top) >>> 0;
}

/** Processor time of a load of the first, and how many times the other's that is; of which less than 5 ms count as 5. */
function slowness(limit: number, hostile: object, harmless: object): Promise<number> {
  const load = (json: object) => cpuMilliseconds(() => fromJson(json));
  return leastRatio(limit, [() => load(hostile), () => Math.max(5, load(harmless))]);
}

describe("a vocabulary made against a table", () => {
  it("of merges", async () => {
    const count = 40_000;
    const slots = 65_536; // room for them
    const pairs: [number, number][] = [];
    const base = 1 << 18;
    for (let left = 1000; pairs.length < count; left++) {
      for (let right = base; right < 2 * base && pairs.length < count; right++) {
        if ((publicHash(left, right + 1) & (slots - 1)) < 64) pairs.push([left, right]);
      }
    }
    const file = (parts: [number, number][]) => {
      const vocab: Record<string, number> = {};
      for (const [left, right] of parts) {
        vocab[`A${left}B`] = left;
        vocab[`C${right}D`] = right;
      }
      const merges = parts.map(([left, right]): [string, string] => [`A${left}B`, `C${right}D`]);
      for (const [i, merge] of merges.entries()) vocab[merge.join("")] = 2 * base + i;
      return byteLevelJson([], {}, { vocab, merges });
    };
    // As many pairs of as many tokens.
    const harmless = pairs.map(([left], i): [number, number] => [left, base + 6 * i]);
    expect(await slowness(5, file(pairs), file(harmless))).toBeLessThan(5);
  });

  it("of prefixes", async () => {
    const slots = 65_536;
    const bytes = Array.from({ length: 26 }, (_, i) => [0x41 + i, 0x61 + i]).flat();
    const make = (choose: (node: number) => number) => {
      const tokens: string[] = [];
      let next = 1; // nodes are numbered as they come
      for (let chain = 0; chain < 30; chain++) {
        let text = String.fromCharCode(bytes[chain]!);
        for (next++; text.length < 1000; next++) text += String.fromCharCode(choose(next - 1));
        tokens.push(text);
      }
      const model = { type: "Unigram", unk_id: 0, vocab: tokens.map((text, i) => [text, -i]) };
      return { ...byteLevelJson([]), pre_tokenizer: null, decoder: null, model };
    };
    const slotOf = (node: number, byte: number) => publicHash(node >>> 24, ((node << 8) | byte) >>> 0) & (slots - 1);
    const hostile = make((node) => bytes.reduce((a, b) => (slotOf(node, a) < slotOf(node, b) ? a : b)));
    const harmless = make((node) => bytes[(node * 7) % bytes.length]!);
    expect(await slowness(5, hostile, harmless)).toBeLessThan(5);
  });
});
