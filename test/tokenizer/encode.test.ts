import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { namedPatterns } from "../../lib/tokenizer/pipeline/patterns.ts";
import { naiveMerge } from "./pipeline/naive.ts";
import { added, byteLevelJson, byteNames, fromJson, plain, sentencePieceJson, splitBy } from "./samples.ts";

/** Any string, including lone surrogates, whitespace, digits, marks and the text of special tokens. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc.string({ unit: "grapheme", maxLength: 6 }),
      fc.constantFrom(
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "'s",
        "'LL",
        "123456",
        "a\u0301",
        "한국",
        "🎉",
        "\ud800",
        "<|endoftext|>",
        "▁",
      ),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""));

describe("byte-level BPE", () => {
  it("matches ids worked out by hand", () => {
    const merges: [string, string][] = [
      ["l", "o"],
      ["Ġ", "lo"],
      ["lo", "w"],
      ["e", "r"],
    ];
    const tokenizer = fromJson(byteLevelJson(merges));
    // "lower" → lo w e r → low e r → low er; " low" → Ġ lo w → Ġlo w: rank 1 comes before rank 2.
    expect(plain(tokenizer, "lower low")).toEqual([258, 259, 257, 0x77]);
    expect(plain(tokenizer, "")).toEqual([]);
    expect(tokenizer.count("lower low", { allowSpecial: true })).toBe(4);
  });

  it("gives the tokens of a naive merge loop for words of any length", () => {
    const letters = ["a", "b", "c"];
    const pairs = letters.flatMap((x) => letters.map((y): [string, string] => [x, y]));
    const merge = fc.shuffledSubarray(pairs, { minLength: 1 });
    const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(merge, word, fc.array(fc.nat(100), { maxLength: 12 }), (first, text, seeds) => {
        const merges: [string, string][] = [...first];
        const known = new Set([...letters, ...first.map((pair) => pair.join(""))]);
        for (const seed of seeds) {
          const tokens = [...known];
          const pair: [string, string] = [tokens[seed % tokens.length]!, tokens[(seed * 7) % tokens.length]!];
          if (merges.some(([x, y]) => x === pair[0] && y === pair[1])) continue;
          // The merge may precede the merges that make its parts, since files may hold any order.
          merges.splice(seed % (merges.length + 1), 0, pair);
          known.add(pair.join(""));
        }
        const json = byteLevelJson(merges);
        const tokenizer = fromJson(json);
        const ranks = new Map(merges.map((pair, rank) => [pair.join(" "), rank]));
        const expected = naiveMerge([...text], ranks).map((token) => json.model.vocab[token]);
        expect(plain(tokenizer, text)).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it("round-trips any text", async () => {
    const corpus = "the quick brown fox's 12345 jumps über 日本語 🎉 한국어\n\n\tdone ".repeat(3);
    for (const pattern of ["gpt2", "llama3", "qwen2", "o200k"] as const) {
      const tokenizer = await Tokenizer.train([corpus], { vocabSize: 400, pattern });
      fc.assert(
        fc.property(anyText, (text) => {
          const ids = tokenizer.encode(text, { allowSpecial: true });
          expect(tokenizer.decode(ids)).toBe(text.toWellFormed());
          expect(tokenizer.count(text, { allowSpecial: true })).toBe(ids.length);
        }),
        { numRuns: 200 },
      );
    }
  });

  it("matches whole words first with ignore_merges", () => {
    const json = byteLevelJson([["a", "b"]]);
    Object.assign(json.model.vocab, { abc: 300 });
    expect(plain(fromJson(json), "abc")).toEqual([256, 0x63]);
    Object.assign(json.model, { ignore_merges: true });
    expect(plain(fromJson(json), "abc")).toEqual([300]);
    expect(plain(fromJson(json), "abcd")).toEqual([256, 0x63, 0x64]);
  });

  it("reads merges that are strings", () => {
    const json = byteLevelJson([["a", "b"]]);
    Object.assign(json.model, { merges: ["a b"] });
    expect(plain(fromJson(json), "ab")).toEqual([256]);
  });

  it("encodes a megabyte of one letter in linear time", () => {
    const merges: [string, string][] = [];
    for (let part = "a"; part.length < 128; part += part) merges.push([part, part]);
    const tokenizer = fromJson(byteLevelJson(merges));
    // CPU time does not depend on other load. A quadratic loop would take hours.
    const begin = process.cpuUsage();
    const ids = tokenizer.encode("a".repeat(1 << 20));
    const { user, system } = process.cpuUsage(begin);
    expect((user + system) / 1e6).toBeLessThan(20);
    expect(ids).toHaveLength((1 << 20) / 128);
  });
});

// With a merge for every pair of bytes, each piece becomes pairs from its start, so that ids reveal where pieces begin.
describe("split patterns", () => {
  const characters = [..."aBzŁǅʰあ한١Ⅷ7'sStTlLrRvVeEmMdDſ \t\n\r\u0085\u00a0\u2028/!.-_😀\u0301\u0903\u200d"];
  const bytes = [...new Set(characters.flatMap((character) => [...Buffer.from(character)]))];
  const merges = bytes.flatMap((x) => bytes.map((y): [string, string] => [byteNames[x]!, byteNames[y]!]));
  const text = fc.array(fc.constantFrom(...characters), { maxLength: 24 }).map((parts) => parts.join(""));

  // Mistral's Tekken pattern is that of o200k without contractions, and with single digits.
  const tekken = namedPatterns.o200k.replaceAll("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "{1}");
  const patterns = { ...namedPatterns, tekken: tekken.replace("\\p{N}{1}", "\\p{N}") };
  for (const [name, pattern] of Object.entries(patterns)) {
    it(`${name}: the native splitter equals the regular expression`, () => {
      const json = byteLevelJson(merges, { pre_tokenizer: splitBy(pattern) });
      const native = fromJson(json);
      // The group matches the same texts but hides the pattern from the native splitters, so the regular expression engine splits.
      const general = fromJson({ ...json, pre_tokenizer: splitBy(`(?:${pattern})`) });
      fc.assert(
        fc.property(text, (sample) => {
          expect(plain(native, sample)).toEqual(plain(general, sample));
        }),
        { numRuns: 400 },
      );
    });
  }

  it("give pieces worked out by hand", async () => {
    const pieces = async (pattern: keyof typeof namedPatterns, sample: string) => {
      // With enough merges, every piece becomes one token.
      const tokenizer = await Tokenizer.train([sample], { vocabSize: 2000, pattern });
      return [...tokenizer.encode(sample, { allowSpecial: true })].map((id) =>
        Buffer.from(tokenizer.tokenBytes(id)).toString(),
      );
    };
    expect(await pieces("gpt2", "I've  3000 x's\n\n y")).toEqual(["I", "'ve", " ", " 3000", " x", "'s", "\n\n", " y"]);
    expect(await pieces("llama3", "I'VE  3000!?\n\n y")).toEqual(["I", "'VE", " ", " ", "300", "0", "!?\n\n", " y"]);
    expect(await pieces("qwen2", "a12 (b)")).toEqual(["a", "1", "2", " (", "b", ")"]);
    expect(await pieces("o200k", "camelCase HTTPServer don't a/b//\n")).toEqual([
      "camel",
      "Case",
      " HTTPServer",
      " don't",
      " a",
      "/b",
      "//\n",
    ]);
  });

  it("isolate digits before GPT-2's split", () => {
    const pre_tokenizer = {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, use_regex: true },
      ],
    };
    const tokenizer = fromJson(byteLevelJson(merges, { pre_tokenizer }));
    const tokens = plain(tokenizer, "a 77").map((id) => tokenizer.decode([id]));
    expect(tokens).toEqual(["a", " ", "7", "7"]);
  });
});

describe("SentencePiece-style BPE", () => {
  const pieces = ["▁", "a", "b", "c", "▁a", "▁ab", "bc", "▁▁", "é"];
  const merges: [string, string][] = [
    ["▁", "a"],
    ["▁a", "b"],
    ["b", "c"],
    ["▁", "▁"],
  ];
  const tokenizer = fromJson(sentencePieceJson(pieces, merges), { bos_token: "<s>", eos_token: "</s>" });
  const id = Object.fromEntries(pieces.map((piece, index) => [piece, 259 + index]));

  it("prepends, merges and falls back to bytes as worked out by hand", () => {
    expect(plain(tokenizer, "abc")).toEqual([id["▁ab"], id.c]);
    expect(plain(tokenizer, "bc a")).toEqual([id["▁"], id.bc, id["▁a"]]);
    expect(plain(tokenizer, " a")).toEqual([id["▁"], id["▁a"]]); // ▁ ▁ a: (▁, a) comes before (▁, ▁)
    expect(plain(tokenizer, "é")).toEqual([id["▁"], id.é]);
    expect(plain(tokenizer, "日")).toEqual([id["▁"], 3 + 0xe6, 3 + 0x97, 3 + 0xa5]);
    expect([...tokenizer.encode("a", { allowSpecial: true })]).toEqual([1, id["▁a"]]);
  });

  it("treats each part between added tokens as a separate text", () => {
    expect(plain(tokenizer, "a</s>a")).toEqual([id["▁a"], 2, id["▁a"]]);
    expect([...tokenizer.encode("a</s>", { addSpecialTokens: false, allowSpecial: false })]).not.toContain(2);
  });

  it("strips one leading space when decoding", () => {
    expect(tokenizer.decode(plain(tokenizer, "abc a é日"))).toBe("abc a é日");
    expect(tokenizer.decode(tokenizer.encode("abc", { allowSpecial: true }))).toBe("<s> abc");
    expect(tokenizer.decode(tokenizer.encode("abc", { allowSpecial: true }), { skipSpecialTokens: true })).toBe("abc");
    // Invalid UTF-8 bytes become one U+FFFD each.
    expect(tokenizer.decode([3 + 0xe6, 3 + 0x97])).toBe("\ufffd\ufffd");
  });

  it("supports the three prepend schemes of Metaspace", () => {
    const metaspace = (prepend_scheme: string, split: boolean) =>
      fromJson(
        sentencePieceJson(pieces, merges, {
          normalizer: null,
          pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme, split },
        }),
      );
    for (const split of [true, false]) {
      expect(plain(metaspace("always", split), "a</s>a")).toEqual([id["▁a"], 2, id["▁a"]]);
      expect(plain(metaspace("first", split), "a</s>a")).toEqual([id["▁a"], 2, id.a]);
      expect(plain(metaspace("never", split), "a a")).toEqual([id.a, id["▁a"]]);
      expect(plain(metaspace("always", split), " a")).toEqual([id["▁a"]]); // already begins with a space
    }
    expect(plain(metaspace("never", true), "  ")).toEqual([id["▁"], id["▁"]]);
    expect(plain(metaspace("never", false), "  ")).toEqual([id["▁▁"]]);
  });

  it("gives the ids of a naive merge loop, whether or not merges cross word boundaries", () => {
    // A merge across "b▁" forbids splitting before each ▁. Without it, splitting must not change the ids.
    const crossing = fromJson(sentencePieceJson([...pieces, "b▁"], [...merges, ["b", "▁"]]));
    const ranks = new Map(merges.map((pair, rank) => [pair.join(" "), rank]));
    const crossingRanks = new Map([...ranks, ["b ▁", 4]]);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "b", "c", " "), minLength: 1, maxLength: 80 }), (text) => {
        const symbols = [...`▁${text.replaceAll(" ", "▁")}`];
        const ids = (tokens: string[]) => tokens.map((token) => (token === "b▁" ? 259 + pieces.length : id[token]));
        expect(plain(tokenizer, text)).toEqual(ids(naiveMerge(symbols, ranks)));
        expect(plain(crossing, text)).toEqual(ids(naiveMerge(symbols, crossingRanks)));
      }),
    );
    const unit = fc.constantFrom("a", "b", "c", " ", "é", "日", "\n", "🎉");
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 30 }), (text) => {
        expect(tokenizer.decode(plain(tokenizer, text))).toBe(text);
      }),
    );
  });
});

describe("added tokens", () => {
  const json = (tokens: object[], overrides = {}) => byteLevelJson([], { added_tokens: tokens, ...overrides });

  it("match leftmost, then longest", () => {
    const tokenizer = fromJson(json([added(300, "<a>"), added(301, "<a><b>"), added(302, "a><")]));
    expect(plain(tokenizer, "<a><b>")).toEqual([301]);
    expect(plain(tokenizer, "<a><c")).toEqual([300, 0x3c, 0x63]);
    expect(plain(tokenizer, "a><a>")).toEqual([302, 0x61, 0x3e]);
  });

  it("support lstrip, rstrip and single_word", () => {
    const tokenizer = fromJson(
      json([
        added(300, "<l>", { lstrip: true }),
        added(301, "<r>", { rstrip: true }),
        added(302, "wu", { single_word: true }),
      ]),
    );
    expect(plain(tokenizer, "x \t<l> y")).toEqual([0x78, 300, 0x20, 0x79]);
    expect(plain(tokenizer, "x <r>\n\u3000y")).toEqual([0x78, 0x20, 301, 0x79]);
    expect(plain(tokenizer, "wu,wu")).toEqual([302, 0x2c, 302]);
    expect(plain(tokenizer, "wuwu éwu wu1")).not.toContain(302);
  });

  it("keep the ids that the vocabulary assigns them", () => {
    expect(plain(fromJson(json([added(300, "w")])), "w")).toEqual([0x77]);
  });

  it("match in the normalized text only if their field `normalized` is true", () => {
    const tokens = [added(300, "HI", { normalized: true, special: false }), added(301, "YO")];
    const tokenizer = fromJson(json(tokens, { normalizer: { type: "Lowercase" } }));
    expect(plain(tokenizer, "xHi")).toEqual([0x78, 300]);
    expect(plain(tokenizer, "YO")).toEqual([301]);
    expect(plain(tokenizer, "yo")).toEqual([0x79, 0x6f]);
  });

  it("are ordinary text without allowSpecial if they are special or mark-up", () => {
    const tokenizer = fromJson(
      json([added(300, "<|end|>"), added(301, "<think>", { special: false }), added(302, "abc", { special: false })]),
    );
    expect(plain(tokenizer, "<|end|><think>abc")).toEqual([300, 301, 302]);
    const ids = [...tokenizer.encode("<|end|><think>abc", { allowSpecial: false })];
    expect(ids).toHaveLength("<|end|><think>".length + 1);
    expect(ids.at(-1)).toBe(302);
  });

  it("match in any text if they are HTML elements, as in Gemma, unless they are special", () => {
    const tags = ["<table>", "</td>", "<h1>", "<b>", "</s>"];
    const tokens = tags.map((tag, i) => added(300 + i, tag, { special: false }));
    const text = tags.join("");
    const tokenizer = fromJson(json([...tokens, added(310, "<tool_call>", { special: false })]));
    expect([...tokenizer.encode(text, { addSpecialTokens: false })]).toEqual([300, 301, 302, 303, 304]);
    expect([...tokenizer.encode("<tool_call>", { addSpecialTokens: false })]).not.toContain(310);
    const messages = [{ role: "user", content: text }];
    expect([...tokenizer.applyChatTemplate(messages, { template: "{{ messages[0].content }}" }).ids]).toEqual([
      300, 301, 302, 303, 304,
    ]);
    const llama = fromJson(json([added(300, "<s>"), added(301, "</s>")]));
    expect(llama.encode("<s></s>", { addSpecialTokens: false })).toHaveLength(7);
  });
});

describe("batches", () => {
  it("equal single calls, in order", async () => {
    const tokenizer = fromJson(byteLevelJson([["a", "b"]]));
    const texts = Array.from({ length: 300 }, (_, i) => "ab c".repeat(i * 5));
    const batch = await tokenizer.encodeBatch(texts, { allowSpecial: true });
    for (const [index, text] of texts.entries())
      expect(batch[index]!.join()).toBe(tokenizer.encode(text, { allowSpecial: true }).join());
    expect(await tokenizer.encodeBatch([], { allowSpecial: true })).toEqual([]);
    const long = "ab ".repeat(100_000);
    expect((await tokenizer.encodeAsync(long)).join()).toBe(tokenizer.encode(long, { allowSpecial: true }).join());
  });

  it("stop when aborted", async () => {
    const tokenizer = fromJson(byteLevelJson([["a", "b"]]));
    const controller = new AbortController();
    const run = tokenizer.encodeAsync("ab ".repeat(20_000_000), { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
    await expect(tokenizer.encodeBatch(["a"], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  it("reject values that are not strings", async () => {
    const tokenizer = fromJson(byteLevelJson([]));
    for (const value of [undefined, null, 3, {}, ["a"]]) {
      expect(() => tokenizer.encode(value as never, { allowSpecial: true })).toThrowError(/text: expected a string/u);
      expect(() => tokenizer.count(value as never, { allowSpecial: true })).toThrowError(/text: expected a string/u);
      expect(() => tokenizer.encodeWithOffsets(value as never, { allowSpecial: true })).toThrowError(
        /text: expected a string/u,
      );
      await expect(tokenizer.encodeBatch([value as never], { allowSpecial: true })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    }
  });
});
