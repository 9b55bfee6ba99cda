// Normalizers, pre-tokenizers and post-processors, native and TypeScript.

import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { cpuMilliseconds } from "../../helpers/clock.ts";
import { added, byteLevel, byteLevelJson, fromJson, plain, sentencePieceJson } from "../samples.ts";

const text = (normalizer: unknown, input: string) => {
  const tokenizer = fromJson(byteLevelJson([], { normalizer }));
  return tokenizer.decode(tokenizer.encode(input, { allowSpecial: true }));
};

describe("normalizers", () => {
  it("transform the text as specified", () => {
    expect(text({ type: "NFC" }, "e\u0301 ﬁ")).toBe("é ﬁ");
    expect(text({ type: "NFD" }, "é")).toBe("e\u0301");
    expect(text({ type: "NFKC" }, "ﬁ①\u00a0x")).toBe("fi1 x");
    expect(text({ type: "NFKD" }, "ﬁé")).toBe("fie\u0301");
    expect(text({ type: "Lowercase" }, "ÀB")).toBe("àb");
    expect(text({ type: "StripAccents" }, "e\u0301")).toBe("e");
    expect(text({ type: "Replace", pattern: { String: "." }, content: "!" }, "a.b")).toBe("a!b");
    expect(text({ type: "Replace", pattern: { Regex: "\\s+" }, content: " " }, "a \n\u0085b")).toBe("a b");
    expect(text({ type: "Prepend", prepend: "> " }, "a")).toBe("> a");
    expect(text({ type: "Strip", strip_left: true, strip_right: true }, "\u2003 a b \n")).toBe("a b");
    expect(text({ type: "Strip", strip_left: false, strip_right: true }, " a ")).toBe(" a");
    const sequence = [
      { type: "NFD" },
      { type: "Sequence", normalizers: [{ type: "StripAccents" }, { type: "Lowercase" }] },
    ];
    expect(text({ type: "Sequence", normalizers: sequence }, "É")).toBe("e");
  });

  it("normalize the text between special tokens independently", () => {
    const tokenizer = fromJson(byteLevelJson([], { normalizer: { type: "NFC" }, added_tokens: [added(300, "<|e|>")] }));
    // If the mark were composed with the ">" before it, the token would not match.
    expect(plain(tokenizer, "e\u0301<|e|>\u0338")).toEqual([0xc3, 0xa9, 300, 0xcc, 0xb8]);
  });
});

describe("pre-tokenizers", () => {
  // There is a merge for every pair of these characters, so that a piece of two characters is one token.
  const letters = [..."ab1 ,."];
  const name = (letter: string) => (letter === " " ? "Ġ" : letter);
  const merges = letters.flatMap((x) => letters.map((y): [string, string] => [name(x), name(y)]));
  const pieces = (parts: unknown[], input: string) => {
    const pre_tokenizer = { type: "Sequence", pretokenizers: [...parts, { ...byteLevel, use_regex: false }] };
    const tokenizer = fromJson(byteLevelJson(merges, { pre_tokenizer }));
    return plain(tokenizer, input).map((id) => tokenizer.decode([id]));
  };

  it("split the text as specified", () => {
    expect(pieces([{ type: "Whitespace" }], "ab,. a")).toEqual(["ab", ",.", "a"]);
    expect(pieces([{ type: "WhitespaceSplit" }], "ab, a")).toEqual(["ab", ",", "a"]);
    expect(pieces([{ type: "Punctuation" }], "a,,b")).toEqual(["a", ",", ",", "b"]);
    expect(pieces([{ type: "Punctuation", behavior: "Contiguous" }], "a,,b")).toEqual(["a", ",,", "b"]);
    expect(pieces([{ type: "Digits" }], "a11b")).toEqual(["a", "11", "b"]);
    expect(pieces([{ type: "Digits", individual_digits: true }], "a11b")).toEqual(["a", "1", "1", "b"]);
    expect(pieces([{ type: "BertPreTokenizer" }], "a b,")).toEqual(["a", "b", ","]);
    expect(pieces([{ type: "CharDelimiterSplit", delimiter: "," }], "a,b")).toEqual(["a", "b"]);
  });

  it("isolate, remove or merge the matches of a pattern", () => {
    const split = (behavior: string, invert = false) =>
      pieces([{ type: "Split", pattern: { String: "," }, behavior, invert }], "a,,b");
    expect(split("Isolated")).toEqual(["a", ",", ",", "b"]);
    expect(split("Removed")).toEqual(["a", "b"]);
    expect(split("Removed", true)).toEqual([",", ","]);
    expect(split("MergedWithPrevious")).toEqual(["a,", ",", "b"]);
    expect(split("MergedWithNext")).toEqual(["a", ",", ",b"]);
    expect(split("Contiguous")).toEqual(["a", ",,", "b"]);
  });

  it("prepend a space with add_prefix_space", () => {
    const spaced = fromJson(byteLevelJson(merges, { pre_tokenizer: { ...byteLevel, add_prefix_space: true } }));
    expect(spaced.decode(plain(spaced, "ab"))).toBe(" ab");
    expect(spaced.decode(plain(spaced, " ab"))).toBe(" ab");
    expect(plain(spaced, "")).toEqual([]);
  });

  it("reject unknown types and patterns, and the error names them", () => {
    const load = (pre_tokenizer: unknown) => () => fromJson(byteLevelJson([], { pre_tokenizer }));
    expect(load({ type: "Other" })).toThrowError(/Other/u);
    const regex = (Regex: string) => load({ type: "Split", pattern: { Regex }, behavior: "Isolated" });
    for (const pattern of [
      "(?<n>a)\\k<n>",
      "(a)\\1",
      "(",
      ")",
      "[a",
      "a{3,2}",
      "\\p{Nothing}",
      "(?i)é",
      "(?<=a+)b",
      "*a",
    ]) {
      expect(regex(pattern)).toThrowError(/pre_tokenizer/u);
    }
    for (const pattern of ["x".repeat(5000), "((a{1000}){1000}){1000}", "((){1000}){1000}"]) {
      expect(regex(pattern)).toThrowError(/pre_tokenizer.*at most/u);
    }
    expect(regex("[^a-z\\p{L}]+|\\d|(?i:it's)|\\x41|é'")).not.toThrow();
  });

  it("may have eight quantifiers after one operand, and no more", () => {
    const load = (pattern: string) =>
      fromJson(
        byteLevelJson([], { pre_tokenizer: { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" } }),
      );
    expect(load(`a${"*".repeat(8)}b`).count("aab")).toBe(3);
    expect(() => load(`a${"*".repeat(9)}b`)).toThrowError(/more than 8 consecutive quantifiers in the pattern/u);
  });

  it("bound the time and memory of untrusted patterns", () => {
    const load = (pattern: string) =>
      fromJson(
        byteLevelJson([], { pre_tokenizer: { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" } }),
      );
    // Measuring the length of a look-behind with nested alternatives must not take exponential time.
    const start = performance.now();
    expect(load(`(?<=${"(?:".repeat(60)}a${"|b)".repeat(60)})x`).count("axbxx")).toBe(5);
    expect(performance.now() - start).toBeLessThan(5000);
    // The length of the look-behind overflows an integer.
    expect(() => load(`(?<=${"(?:".repeat(20)}a${"{1000})".repeat(20)})x`)).toThrowError(/look-behind|at most/u);
    // A look-behind of a million characters at every position.
    expect(() => load("(?<=(?:a{1000}){1000})a").count("a".repeat(60_000))).toThrowError(
      /expected at most \d+ steps for a text of \d+ bytes, got more for the pattern/u,
    );
    // To memoize failed states, the table would need an entry for each of 18,000 program steps at each of a million positions.
    const long = load("a+(?:(?:(?:bc){1000}){9}|x)");
    expect(() => long.count("a".repeat(1_000_000))).toThrowError(
      /expected at most \d+ steps for a text of \d+ bytes, got more for the pattern/u,
    );
    expect(long.count("aaax")).toBe(4);
  });

  it("bound the steps of all searches within one text together", () => {
    const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated" });
    const load = (...patterns: string[]) =>
      fromJson(byteLevelJson([], { pre_tokenizer: { type: "Sequence", pretokenizers: patterns.map(split) } }));
    const capped = /expected at most \d+ steps for a text of 1000000 bytes, got more/u;
    const text = `${"a".repeat(999)}\n`.repeat(1000);
    const spent = (tokenizer: Tokenizer, given = text) => {
      let message = "";
      const ms = cpuMilliseconds(() => {
        try {
          tokenizer.count(given);
        } catch (error) {
          message = (error as Error).message;
        }
      });
      // Takes less than a second on an idle machine. Sanitizers make it several times slower.
      if (!process.env.HEDDLE_SANITIZED) expect(ms).toBeLessThan(3000);
      return message;
    };
    const slow = "a*a*a*a*a*b";
    expect(spent(load(slow), "a".repeat(1_000_000))).toMatch(capped); // one search
    expect(spent(load("[^\\n]+", slow))).toMatch(capped); // a search for each line
    // A large program that is started for each character, and many searches one after another.
    expect(spent(load("a", "(?:(?:bc){1000}){9}|a"))).toMatch(capped);
    expect(spent(load(...Array.from({ length: 60 }, () => "a(?=a{0,99}b)|a(?=a{0,99}c)")))).toMatch(capped);
    // Matches that cost no steps: an empty one at each character.
    const replace = { type: "Replace", pattern: { Regex: "(?:)" }, content: "" };
    const normalizer = { type: "Sequence", normalizers: Array.from({ length: 8 }, () => replace) };
    expect(spent(fromJson(byteLevelJson([], { normalizer })))).toMatch(capped);
    expect(load("[^\\n]+", slow).count("a".repeat(2000))).toBe(2000);
  });

  it("match patterns that make backtracking engines hang", () => {
    for (const pattern of ["(a+)+b", "((a|b)*c?)*d", "(a*)*b", "(a|a)*b", "(.*)*x", "a*a*a*a*a*b", "(?=(a+)+b)c"]) {
      const tokenizer = fromJson(
        byteLevelJson([], { pre_tokenizer: { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" } }),
      );
      const start = performance.now();
      expect(tokenizer.count("a".repeat(5000)), pattern).toBe(5000);
      expect(performance.now() - start, pattern).toBeLessThan(5000);
    }
  });

  it("match look-aheads over long runs within the step cap", () => {
    const pattern = { Regex: "a(?=a*b)|a(?=a*c)" };
    const tokenizer = fromJson(byteLevelJson([], { pre_tokenizer: { type: "Split", pattern, behavior: "Isolated" } }));
    expect(tokenizer.count("a".repeat(1000))).toBe(1000);
  });
});

describe("decoders", () => {
  it("bound the steps of all replacements within one decoded text together", async () => {
    const long = 256;
    const load = (count: number) => {
      const replace = { type: "Replace", pattern: { Regex: "a*a*a*a*a*b" }, content: "" };
      const decoder = { type: "Sequence", decoders: Array.from({ length: count }, () => replace) };
      return fromJson({ ...byteLevelJson([], { added_tokens: [added(long, "a".repeat(1000))] }), decoder });
    };
    const ids = (count: number) => Array.from({ length: count }, () => long);
    const capped =
      /^decoder\.pattern: expected at most \d+ steps for a text of \d+ bytes, got more for the pattern .+$/u;
    const streamed = (tokenizer: Tokenizer, count: number) => {
      const decoder = tokenizer.decoder({ skipSpecialTokens: false });
      return ids(count)
        .map((id) => decoder.push(id))
        .join("");
    };
    expect(load(1).decode(ids(20))).toHaveLength(20_000);
    expect(streamed(load(1), 20)).toHaveLength(20_000);
    const slow = load(3);
    expect(slow.decode(ids(1))).toHaveLength(1000); // the step budget is per text
    expect(() => slow.decode(ids(20))).toThrow(capped);
    expect(slow.decode(ids(1))).toHaveLength(1000);
    await expect(slow.decodeBatch([ids(20)])).rejects.toThrow(capped);
    expect(() => streamed(slow, 20)).toThrow(capped);
  });
});

describe("post-processors", () => {
  const around = (post_processor: unknown) => {
    const tokenizer = fromJson(
      byteLevelJson([], { post_processor, added_tokens: [added(256, "<s>"), added(257, "</s>")] }),
    );
    return [...tokenizer.encode("a", { allowSpecial: true })];
  };
  it("add ids around the text", () => {
    expect(around(null)).toEqual([0x61]);
    expect(around({ type: "RobertaProcessing", sep: ["</s>", 257], cls: ["<s>", 256] })).toEqual([256, 0x61, 257]);
    const template = {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "<s>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "</s>", type_id: 0 } },
      ],
      special_tokens: {
        "<s>": { id: "<s>", ids: [256], tokens: ["<s>"] },
        "</s>": { id: "</s>", ids: [257, 257], tokens: ["</s>", "</s>"] },
      },
    };
    expect(around(template)).toEqual([256, 0x61, 257, 257]);
    expect(around({ type: "Sequence", processors: [byteLevel, template] })).toEqual([256, 0x61, 257, 257]);
  });
});

describe("unknown characters without byte fallback", () => {
  const model = (fuse_unk: boolean, unk_token: string | null = "<unk>") => ({
    type: "BPE",
    vocab: { "<unk>": 0, "▁": 1, a: 2, "▁a": 3 },
    merges: [["▁", "a"]],
    unk_token,
    fuse_unk,
    byte_fallback: false,
  });
  it("become one unknown token, one token each, or nothing", () => {
    const load = (part: unknown) =>
      fromJson({ ...sentencePieceJson([], []), post_processor: null, added_tokens: [], model: part });
    expect(plain(load(model(true)), "a日本a")).toEqual([3, 0, 2]);
    expect(plain(load(model(false)), "a日本a")).toEqual([3, 0, 0, 2]);
    expect(plain(load(model(false, null)), "a日本a")).toEqual([3, 2]);
  });
});

describe("configuration", () => {
  it("accepts special tokens as strings or objects, and end tokens from generation_config", () => {
    const json = byteLevelJson([], { added_tokens: [added(256, "<s>"), added(257, "</s>"), added(258, "<pad>")] });
    const tokenizer = Tokenizer.fromFiles({
      tokenizer: JSON.stringify(json),
      tokenizerConfig: JSON.stringify({ bos_token: { content: "<s>" }, eos_token: "</s>", model_max_length: 1e30 }),
      specialTokensMap: JSON.stringify({ pad_token: "<pad>" }),
      generationConfig: JSON.stringify({ eos_token_id: [257, 256] }),
      chatTemplate: "T",
    });
    expect(tokenizer.bosTokenId).toBe(256);
    expect(tokenizer.eosTokenIds).toEqual([257, 256]);
    expect(tokenizer.padTokenId).toBe(258);
    expect(tokenizer.config.modelMaxLength).toBeUndefined();
    expect(tokenizer.config.chatTemplates).toEqual({ default: "T" });
  });
});
