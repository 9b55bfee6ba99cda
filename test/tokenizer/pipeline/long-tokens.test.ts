// Unigram and WordPiece with long tokens take linear time, with the same ids as the plain algorithm.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { cpuMilliseconds, leastRatio } from "../../helpers/clock.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

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

/** A long token that never matches: in a run of a's, every position matches all of it but the last character. */
const vain = `${"a".repeat(1023)}b`;

// Runs that cause failed matches of up to a thousand steps, with various tokens in between.
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

describe("a long token that never matches", () => {
  it("does not change Unigram ids", () => {
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

  it("does not change WordPiece ids", () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), fc.constantFrom("##", ""), texts, (some, prefix, text) => {
        const tokens = ["a", `${prefix}a`, "b", `${prefix}b`, ...some, ...some.map((each) => prefix + each)];
        const expected = wordPiece(tokens, prefix).encodeWithOffsets(text);
        expect(wordPiece([...tokens, `${prefix}${vain}`], prefix).encodeWithOffsets(text)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

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
  ])("does not slow down %s", async (_, plain, long) => {
    const text = "a".repeat(1 << 20);
    long.encode(text.slice(0, 1 << 16)); // one-time setup
    const time = (tokenizer: Tokenizer) => () => cpuMilliseconds(() => tokenizer.encode(text));
    // A quadratic walk would give a ratio of hundreds.
    expect(await leastRatio(50, [time(long), time(plain)])).toBeLessThan(50);
  });
});

describe("long-running encoding", () => {
  const chain = Array.from({ length: 600 }, (_, i) => "a".repeat(i + 1));
  const slow = { pattern: { Regex: "(?:a|aa){0,2}x|a" }, behavior: "Isolated", invert: false, type: "Split" };
  const characters = Object.fromEntries(["<unk>", "a", "aa"].map((each, id) => [each, id]));
  const models: [string, number, () => Tokenizer][] = [
    ["a Unigram whose tokens match everywhere", 1 << 17, () => unigram(chain.map((text, i) => [text, -1 - i]))],
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

  it.each(models)("can be aborted: %s", async (_, length, make) => {
    const tokenizer = make();
    const text = "a".repeat(length);
    const all = () => cpuMilliseconds(() => tokenizer.encode(text));
    // A text sixteen times as long, aborted after a millisecond.
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
