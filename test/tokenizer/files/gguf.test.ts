import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeddleError, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { byteLevelJson, byteNames, fromJson, plain, splitBy } from "../samples.ts";
import { readGgufMetadata } from "./read-gguf.ts";

const bytePieces = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

function spm(pieces: [string, number][], more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", ...bytePieces, ...pieces.map(([piece]) => piece)],
    "tokenizer.ggml.scores": [0, 0, 0, ...bytePieces.map(() => 0), ...pieces.map(([, score]) => score)],
    "tokenizer.ggml.token_type": [2, 3, 3, ...bytePieces.map(() => 6), ...pieces.map(() => 1)],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    ...more,
  };
}

describe("GGUF vocabularies with scores", () => {
  const pieces: [string, number][] = [
    ["▁", -10],
    ["a", -11],
    ["b", -12],
    ["c", -13],
    ["bc", -1],
    ["ab", -2],
    ["▁a", -3],
    ["abc", -4],
  ];

  it("merge the pair with the highest score first", () => {
    const tokenizer = Tokenizer.fromGguf(spm(pieces));
    const id = (piece: string) => tokenizer.tokenToId(piece)!;
    // In ▁abc, bc (-1) is merged first. Then a could join ▁ (-3) or bc (-4). The higher score wins.
    expect(plain(tokenizer, "abc")).toEqual([id("▁a"), id("bc")]);
    expect(plain(tokenizer, "babc")).toEqual([id("▁"), id("b"), id("abc")]);
    expect([...tokenizer.encode("é", { allowSpecial: true })]).toEqual([1, id("▁"), 3 + 0xc3, 3 + 0xa9]);
    expect(tokenizer.decode(tokenizer.encode("abc é", { allowSpecial: true }), { skipSpecialTokens: true })).toBe(
      "abc é",
    );
    expect(tokenizer.bosTokenId).toBe(1);
    expect(tokenizer.eosTokenIds).toEqual([2]);
    expect(tokenizer.unkTokenId).toBe(0);
  });

  it("merge the leftmost of equal scores", () => {
    const equal: [string, number][] = [
      ["a", -5],
      ["b", -5],
      ["ba", -1],
      ["ab", -1],
    ];
    const tokenizer = Tokenizer.fromGguf(spm(equal, { "tokenizer.ggml.add_space_prefix": false }));
    const id = (piece: string) => tokenizer.tokenToId(piece)!;
    expect(plain(tokenizer, "aba")).toEqual([id("ab"), id("a")]);
    expect(plain(tokenizer, "bab")).toEqual([id("ba"), id("b")]);
  });

  it("add BOS and EOS as the file specifies", () => {
    const both = Tokenizer.fromGguf(spm(pieces, { "tokenizer.ggml.add_eos_token": true }));
    expect([...both.encode("a", { allowSpecial: true })].at(-1)).toBe(2);
    const none = Tokenizer.fromGguf(spm(pieces, { "tokenizer.ggml.add_bos_token": false }));
    expect([...none.encode("a", { allowSpecial: true })]).toEqual([none.tokenToId("▁a")]);
  });

  it("provide the end-of-turn tokens and the chat template", () => {
    const file = spm([["a", -1]], {
      "tokenizer.chat_template": "{{ messages[0].content }}!",
      "tokenizer.ggml.eot_token_id": 259n,
    });
    const tokenizer = Tokenizer.fromGguf(file);
    expect(tokenizer.eosTokenIds).toEqual([2, 259]);
    expect(tokenizer.applyChatTemplate([{ role: "user", content: "hi" }]).text).toBe("hi!");
  });
});

describe("GGUF vocabularies with merges", () => {
  const file = (pre: string | undefined, more: Record<string, unknown> = {}) => ({
    "tokenizer.ggml.model": "gpt2",
    ...(pre !== undefined && { "tokenizer.ggml.pre": pre }),
    "tokenizer.ggml.tokens": [...byteNames, "12", "123", "Ġx", "<|end|>", "<|bos|>"],
    "tokenizer.ggml.merges": ["1 2", "12 3", "Ġ x"],
    "tokenizer.ggml.token_type": [...byteNames.map(() => 1), 1, 1, 1, 3, 3],
    "tokenizer.ggml.bos_token_id": 260,
    "tokenizer.ggml.eos_token_id": 259,
    ...more,
  });

  it("split as tokenizer.ggml.pre specifies", () => {
    const tokens = (pre: string | undefined) => {
      const tokenizer = Tokenizer.fromGguf(file(pre));
      return [...tokenizer.encode("1234 x<|end|>", { allowSpecial: true })].map((id) => tokenizer.idToToken(id));
    };
    expect(tokens("gpt-2")).toEqual(["123", "4", "Ġx", "<|end|>"]);
    // The pre-tokenizer of RoBERTa and similar encoders.
    expect(tokens("roberta-bpe")).toEqual(tokens("gpt-2"));
    expect(tokens("qwen2")).toEqual(["1", "2", "3", "4", "Ġx", "<|end|>"]);
    expect(tokens("seed-coder")).toEqual(["1", "2", "3", "4", "Ġx", "<|end|>"]);
    expect(tokens("smollm")).toEqual(["1", "2", "3", "4", "Ġx", "<|end|>"]);
    expect(tokens("llama-bpe")).toEqual(["<|bos|>", "123", "4", "Ġx", "<|end|>"]);
    expect(tokens("gpt-4o")).toEqual(["123", "4", "Ġx", "<|end|>"]);
    expect(tokens("deepseek-v3")).toEqual(["123", "4", "Ġx", "<|end|>"]);
    expect(tokens(undefined)).toEqual(["123", "4", "Ġx", "<|end|>"]);
  });

  it("compose characters where the original tokenizer does", () => {
    // The composed é has two bytes; e and a combining accent have three.
    const idCount = (pre: string) => plain(Tokenizer.fromGguf(file(pre)), "e\u0301").length;
    // `olmo` is the pre-tokenizer of Pythia and OLMo.
    for (const pre of ["qwen2", "olmo", "modern-bert", "command-r"]) expect(idCount(pre), pre).toBe(2);
    for (const pre of ["gpt-2", "smollm", "llama-bpe"]) expect(idCount(pre), pre).toBe(3);
  });

  it("give the same ids as a tokenizer.json with the same vocabulary", () => {
    const pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    const json = fromJson(
      byteLevelJson(
        [
          ["1", "2"],
          ["12", "3"],
          ["Ġ", "x"],
        ],
        { pre_tokenizer: splitBy(pattern) },
      ),
    );
    const gguf = Tokenizer.fromGguf(file("gpt-2"));
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("1", "2", "3", " ", "x", "'s", "é", "\n") }), (text) => {
        expect(plain(gguf, text)).toEqual(plain(json, text));
      }),
    );
  });
});

describe("invalid GGUF metadata", () => {
  const cases: [string, Record<string, unknown>, string, RegExp][] = [
    ["a missing vocabulary", {}, "NOT_FOUND", /tokens/u],
    ["an unknown model", { ...spm([]), "tokenizer.ggml.model": "unigram" }, "UNSUPPORTED", /unigram/u],
    [
      "an unknown pre-tokenizer",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "zzz",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.merges": [],
      },
      "UNSUPPORTED",
      /zzz/u,
    ],
    ["missing scores", spm([], { "tokenizer.ggml.scores": undefined }), "INVALID_FILE", /scores/u],
    ["too few scores", spm([["a", 1]], { "tokenizer.ggml.scores": [1] }), "INVALID_FILE", /scores/u],
    ["NaN scores", spm([["a", Number.NaN]]), "INVALID_FILE", /scores/u],
    [
      "a wrong number of token types",
      spm([], { "tokenizer.ggml.token_type": new Int32Array(3) }),
      "INVALID_FILE",
      /token_type/u,
    ],
    ["tokens that are numbers", spm([], { "tokenizer.ggml.tokens": [1, 2] }), "INVALID_FILE", /tokens/u],
    [
      "tokens that are a string instead of an array",
      spm([], { "tokenizer.ggml.tokens": "abc" }),
      "INVALID_FILE",
      /tokens/u,
    ],
    [
      "a merge of one part",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.merges": ["ab"],
      },
      "INVALID_FILE",
      /merges/u,
    ],
    [
      "a merge of unknown parts",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.merges": ["a b"],
      },
      "INVALID_FILE",
      /merges/u,
    ],
    ["a very long piece", spm([["a".repeat(100_000), 1]]), "INVALID_FILE", /characters/u],
    [
      "thousands of pieces of the longest length", // rejected before any work
      spm(Array.from({ length: 4000 }, (_, i): [string, number] => [String(i).padEnd(512, "x"), 0])),
      "INVALID_FILE",
      /squared token lengths/u,
    ],
    [
      "an invalid embedded tokenizer.json",
      spm([["a", 1]], { "tokenizer.huggingface.json": "{" }),
      "INVALID_FILE",
      /tokenizer\.json|JSON/u,
    ],
  ];
  for (const [name, metadata, code, message] of cases) {
    it(`is rejected: ${name}`, () => {
      let error: unknown;
      try {
        Tokenizer.fromGguf(metadata);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(HeddleError);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    });
  }
});

describe.skipIf(!fixtures)("GGUF files of ../shared/fixtures", () => {
  const oracle = () =>
    readFileSync(join(fixtures!, "tokenizers/oracle.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  for (const [path, name] of [
    ["stories260K/stories260K.F32.gguf", "stories260K"],
    ["llama2-tiny-random-gguf/llama-2-tiny-random.gguf", "llama2"],
  ] as const) {
    it(`${name} has the ids of its tokenizer.json`, () => {
      const tokenizer = Tokenizer.fromGguf(readGgufMetadata(join(fixtures!, path)));
      const wrong = oracle().filter(({ text, ids }) => plain(tokenizer, text).join() !== ids[name].join());
      expect(wrong).toEqual([]);
    });
  }
});
