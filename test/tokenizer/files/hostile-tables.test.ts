// Hash-flooding files load as fast as others, because the hash is seeded per process.
import { describe, expect, it } from "vitest";
import { cpuMilliseconds, leastRatio } from "../../helpers/clock.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

/** The low 32 bits of an unseeded hash: key × 2⁶⁴/φ, folded. `high` and `low` are the halves of the key. */
function publicHash(high: number, low: number): number {
  const [oddHigh, oddLow] = [0x9e3779b9, 0x7f4a7c15];
  const [a, b, c, d] = [low & 0xffff, low >>> 16, oddLow & 0xffff, oddLow >>> 16];
  const middle = ((a * c) >>> 16) + ((a * d) & 0xffff) + ((b * c) & 0xffff);
  const carried = b * d + ((a * d) >>> 16) + ((b * c) >>> 16) + (middle >>> 16);
  const top = carried + Math.imul(low, oddHigh) + Math.imul(high, oddLow);
  return (Math.imul(low, oddLow) ^ top) >>> 0;
}

/** The ratio of CPU times to load the hostile and the harmless file. The harmless time counts as at least 5 ms. */
function slowness(limit: number, hostile: object, harmless: object): Promise<number> {
  const load = (json: object) => cpuMilliseconds(() => fromJson(json));
  return leastRatio(limit, [() => load(hostile), () => Math.max(5, load(harmless))]);
}

describe("a vocabulary whose keys collide in an unseeded hash table", () => {
  it("loads quickly if the keys are merges", async () => {
    const count = 40_000;
    const slots = 65_536; // the table's capacity
    const pairs: [number, number][] = [];
    const base = 1 << 18;
    // All pairs begin their search in the first 64 slots.
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
    // The same number of pairs and tokens.
    const harmless = pairs.map(([left], i): [number, number] => [left, base + 6 * i]);
    expect(await slowness(5, file(pairs), file(harmless))).toBeLessThan(5);
  });

  it("loads quickly if the keys are prefixes of tokens", async () => {
    const slots = 65_536;
    const bytes = Array.from({ length: 26 }, (_, i) => [0x41 + i, 0x61 + i]).flat();
    const make = (choose: (node: number) => number) => {
      const tokens: string[] = [];
      let next = 1; // nodes are numbered in order of creation
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
