// Unigram and WordPiece with long tokens: time is linear in the text, and the way that sees to it gives the same ids as the plain one.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { cpuMilliseconds, leastRatio } from "../helpers/clock.ts";
import { byteLevelJson, fromJson } from "./samples.ts";

const parts = { ...byteLevelJson([]), pre_tokenizer: null, decoder: null };

const unigram = (tokens: [string, number][]) =>
  fromJson({ ...parts, model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", -20], ...tokens] } });

const wordPiece = (tokens: string[], prefix = "##") =>
  fromJson({
    ...parts,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: prefix,
      max_input_chars_per_word: 4_000_000,
      vocab: Object.fromEntries(["[UNK]", ...new Set(tokens)].map((token, id) => [token, id])),
    },
  });

/** Of which a run of as has all but the end, again and again. */
const vain = `${"a".repeat(1023)}b`;

// Runs that are walked in vain a thousand times over, with all kinds of tokens between them.
const texts = fc
  .array(
    fc.oneof(
      fc.constantFrom("é", "日", "👍", "x", "b"),
      fc.string({ unit: fc.constantFrom("a", "b", "é", "日"), maxLength: 12 }),
    ),
    { maxLength: 12 },
  )
  .map((some) => `${some.join("")}${"a".repeat(700)}${some.reverse().join("aa")}${"a".repeat(300)}`);
const token = fc.string({ unit: fc.constantFrom("a", "b", "é", "日", "👍"), minLength: 1, maxLength: 9 });

describe("a token that no text has", () => {
  it("changes nothing in a Unigram", () => {
    const score = fc.integer({ min: -12, max: -1 }); // so that sums are often equal
    fc.assert(
      fc.property(fc.array(fc.tuple(token, score), { minLength: 1, maxLength: 40 }), texts, (tokens, text) => {
        const distinct = [...new Map(tokens)];
        const expected = unigram(distinct).encodeWithOffsets(text);
        expect(unigram([...distinct, [vain, -3]]).encodeWithOffsets(text)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it("changes nothing in a WordPiece", () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), fc.constantFrom("##", ""), texts, (some, prefix, text) => {
        const tokens = ["a", `${prefix}a`, "b", `${prefix}b`, ...some, ...some.map((each) => prefix + each)];
        const expected = wordPiece(tokens, prefix).encodeWithOffsets(text);
        expect(wordPiece([...tokens, `${prefix}${vain}`], prefix).encodeWithOffsets(text)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  // A walk of a thousand steps from each of a million places took thousands of milliseconds.
  it.each<[string, Tokenizer, Tokenizer]>([
    [
      "a Unigram",
      unigram([["a", -1]]),
      unigram([
        ["a", -1],
        [vain, -2],
      ]),
    ],
    ["a WordPiece", wordPiece(["a", "##a"]), wordPiece(["a", "##a", `##${vain}`])],
  ])("costs %s little", async (_, plain, long) => {
    const text = "a".repeat(1 << 20);
    long.encode(text.slice(0, 1 << 16)); // what is made once
    const time = (tokenizer: Tokenizer) => () => cpuMilliseconds(() => tokenizer.encode(text));
    // Fifteen times, where the walk took hundreds.
    expect(await leastRatio(50, [time(long), time(plain)])).toBeLessThan(50);
  });
});

describe("work that lasts", () => {
  const chain = Array.from({ length: 600 }, (_, i) => "a".repeat(i + 1));
  const slow = { pattern: { Regex: "(?:a|aa){0,2}x|a" }, behavior: "Isolated", invert: false, type: "Split" };
  const characters = Object.fromEntries(["<unk>", "a", "aa"].map((each, id) => [each, id]));
  const models: [string, number, () => Tokenizer][] = [
    ["a Unigram whose tokens are everywhere", 1 << 17, () => unigram(chain.map((text, i) => [text, -1 - i]))],
    ["a slow pattern", 1 << 17, () => fromJson({ ...byteLevelJson([]), pre_tokenizer: slow })],
    [
      "merges of one long word",
      1 << 20,
      () =>
        fromJson({
          ...parts,
          model: { type: "BPE", unk_token: "<unk>", vocab: characters, merges: [["a", "a"]] },
        }),
    ],
  ];

  it.each(models)("ends when it is aborted: %s", async (_, length, make) => {
    const tokenizer = make();
    const text = "a".repeat(length);
    const all = () => cpuMilliseconds(() => tokenizer.encode(text));
    // Sixteen times as long as that, and aborted at once; what is linear and quick goes first.
    const aborted = async () => {
      const before = process.cpuUsage();
      const controller = new AbortController();
      const running = tokenizer.encodeBatch([text.repeat(16)], { signal: controller.signal });
      setTimeout(() => controller.abort(), 1);
      await expect(running).rejects.toMatchObject({ code: "ABORTED" });
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    expect(await leastRatio(8, [aborted, all])).toBeLessThan(8);
  });
});
