import { describe, expect, test } from "vitest";
import { GgufMetadata } from "../../lib/formats/gguf-metadata.ts";
import { tokenizerFromGguf } from "../../lib/formats/gguf-tokenizer.ts";
import { tokenizerToGguf } from "../../lib/formats/gguf-tokenizer-write.ts";
import type { GgufValue } from "../../lib/formats/gguf-types.ts";
import { patternOfPre } from "../../lib/formats/tokenizer-patterns.ts";
import { namedPatterns } from "../../lib/tokenizer/patterns.ts";
import { expectError } from "./helpers.ts";

const strings = (...value: string[]): GgufValue => ({ type: "array", of: "string", value });
const types = (...value: number[]): GgufValue => ({ type: "array", of: "i32", value: Int32Array.from(value) });
const scores = (...value: number[]): GgufValue => ({ type: "array", of: "f32", value: Float32Array.from(value) });
const text = (value: string): GgufValue => ({ type: "string", value });
const id = (value: number): GgufValue => ({ type: "u32", value });
const metadata = (keys: Record<string, GgufValue>) =>
  new GgufMetadata(new Map(Object.entries(keys).map(([key, value]) => [`tokenizer.ggml.${key}`, value])), "m.gguf");

const spm = {
  model: text("llama"),
  tokens: strings("<unk>", "<s>", "a", "b", "ab", "▁", "▁ab", "<x>"),
  token_type: types(2, 3, 1, 1, 1, 1, 1, 4),
  scores: scores(0, 0, -9, -9, -1, -9, -2, 0),
  bos_token_id: id(1),
};
const bpe = {
  model: text("gpt2"),
  pre: text("gpt-2"),
  tokens: strings("a", "b", "ab", "<e>"),
  merges: strings("a b"),
  token_type: types(1, 1, 1, 3),
};

describe("tokenizerFromGguf", () => {
  test("no vocabulary, no tokenizer", () => {
    expect(tokenizerFromGguf(metadata({ model: text("no_vocab") }))).toBeUndefined();
  });

  test("SentencePiece: merges by score, added tokens by type, BOS and a space in front unless the file says otherwise", () => {
    const { tokenizer, config } = tokenizerFromGguf(metadata(spm))!;
    expect(tokenizer).toMatchObject({
      added_tokens: [
        { id: 0, content: "<unk>", special: true },
        { id: 1, content: "<s>", special: true },
        { id: 7, content: "<x>", special: false },
      ],
      normalizer: { normalizers: [{ type: "Prepend" }, { type: "Replace" }] },
      post_processor: { type: "TemplateProcessing", special_tokens: { "<s>": { ids: [1] } } },
      model: {
        merges: [
          ["a", "b"],
          ["▁", "ab"],
        ],
        unk_token: "<unk>",
        byte_fallback: true,
      },
    });
    expect(config).toMatchObject({ bos_token: "<s>", add_bos_token: true });
    const plain = {
      ...spm,
      add_bos_token: { type: "bool", value: false },
      add_space_prefix: { type: "bool", value: false },
    } as const;
    expect(tokenizerFromGguf(metadata(plain))!.tokenizer).toMatchObject({
      post_processor: null,
      normalizer: { type: "Replace" },
    });
  });

  test("byte-level BPE", () => {
    expect(tokenizerFromGguf(metadata(bpe))!.tokenizer).toMatchObject({
      added_tokens: [{ id: 3, content: "<e>" }],
      pre_tokenizer: { type: "ByteLevel", use_regex: true },
      model: { merges: [["a", "b"]], ignore_merges: false },
    });
    const llama3 = tokenizerFromGguf(metadata({ ...bpe, pre: text("llama-bpe"), bos_token_id: id(3) }))!;
    expect(llama3.tokenizer).toMatchObject({
      pre_tokenizer: { pretokenizers: [{ type: "Split" }, { type: "ByteLevel", use_regex: false }] },
      model: { ignore_merges: true },
      post_processor: { processors: [{ type: "ByteLevel" }, { type: "TemplateProcessing" }] },
    });
  });

  test.each<[string, Record<string, GgufValue>, RegExp]>([
    ["token types of another count", { ...spm, token_type: types(1) }, /token_type: expected 8 entries, got 1/],
    ["token types as text", { ...spm, token_type: strings("x") }, /token_type: expected an array of numbers/],
    ["scores of another count", { ...spm, scores: scores(1) }, /scores: expected 8 entries, got 1/],
    ["no scores", { ...spm, scores: undefined as never }, /scores: expected 8 entries, got nothing/],
    ["a BOS outside the vocabulary", { ...spm, bos_token_id: id(8) }, /bos_token_id: expected below 8, got 8/],
    [
      "an overlong piece",
      {
        ...spm,
        tokens: strings("", "", "", "", "", "", "", "x".repeat(600)),
        token_type: types(1, 1, 1, 1, 1, 1, 1, 1),
      },
      /token 7: expected at most 512 characters/,
    ],
    ["no merges", { ...bpe, merges: undefined as never }, /merges: expected with model gpt2/],
    ["a merge of three", { ...bpe, merges: strings("a b c") }, /merges 0: expected two tokens/],
    ["tokens that are numbers", { ...spm, tokens: scores(1) }, /tokens: expected an array of strings/],
  ])("INVALID_FILE: %s", async (_name, keys, message) => {
    const given = Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== undefined));
    await expectError(() => tokenizerFromGguf(metadata(given)), "INVALID_FILE", message);
  });

  test("thousands of pieces of the longest length are refused within a second", async () => {
    const count = 4000;
    const tokens = strings(...Array.from({ length: count }, (_, i) => String(i).padEnd(512, "x")));
    const keys = {
      ...spm,
      tokens,
      token_type: types(...Array(count).fill(1)),
      scores: scores(...Array(count).fill(0)),
    };
    await expectError(() => tokenizerFromGguf(metadata(keys)), "INVALID_FILE", /expected shorter tokens/);
  });

  test("UNSUPPORTED kinds name the known ones", async () => {
    await expectError(
      () => tokenizerFromGguf(metadata({ ...bpe, model: text("bert") })),
      "UNSUPPORTED",
      /"bert".*known: llama, gpt2/,
    );
    await expectError(
      () => tokenizerFromGguf(metadata({ ...bpe, pre: text("falcon") })),
      "UNSUPPORTED",
      /"falcon".*known: gpt-2, llama-bpe/,
    );
  });
});

describe("tokenizerToGguf", () => {
  const ids = { vocabSize: 4, bosTokenId: null, eosTokenIds: [3, 2], padTokenId: 0 };
  const tokenizer = {
    added_tokens: [{ id: 3, content: "<e>", special: true }],
    pre_tokenizer: { type: "ByteLevel", use_regex: true },
    model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] },
  };

  test("tokens, ids that end a text, chat template", () => {
    const config = {
      chat_template: [
        { name: "tools", template: "T" },
        { name: "default", template: "D" },
      ],
    };
    const meta = new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer, config }, ids));
    expect(meta.strings("tokenizer.ggml.tokens")).toEqual(["a", "b", "ab", "<e>"]);
    expect([...meta.numbers("tokenizer.ggml.token_type")!]).toEqual([1, 1, 1, 3]);
    expect(meta.number("tokenizer.ggml.eos_token_id")).toBe(3);
    expect(meta.number("tokenizer.ggml.eot_token_id")).toBe(2);
    expect(meta.string("tokenizer.chat_template")).toBe("D");
    expect(JSON.parse(meta.requireString("tokenizer.huggingface.json"))).toEqual(tokenizer);
  });

  test("every pattern that Tokenizer.train knows has a name, and the name its pattern", () => {
    for (const [name, pattern] of Object.entries(namedPatterns)) {
      const split = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" };
      const own = {
        ...tokenizer,
        pre_tokenizer: { type: "Sequence", pretokenizers: [split, { type: "ByteLevel", use_regex: false }] },
      };
      const meta = new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer: own }, ids));
      expect(patternOfPre(meta.requireString("tokenizer.ggml.pre")), name).toBe(pattern);
    }
  });

  test("what cannot be expressed is refused", async () => {
    const to =
      (extra: object, size = 4) =>
      () =>
        tokenizerToGguf({ path: "t.json", tokenizer: { ...tokenizer, ...extra } }, { ...ids, vocabSize: size });
    await expectError(
      to({ model: { type: "Unigram" } }),
      "UNSUPPORTED",
      /t.json: tokenizer model: expected BPE, got Unigram/,
    );
    await expectError(
      to({ pre_tokenizer: { type: "Whitespace" } }),
      "UNSUPPORTED",
      /pre_tokenizer: expected a pattern that GGUF names/,
    );
    await expectError(to({}, 3), "INVALID_FILE", /"<e>": expected an id below vocab_size 3, got 3/);
    await expectError(
      to({ model: { type: "BPE", vocab: { a: 0 }, merges: ["a"] } }),
      "INVALID_FILE",
      /merge 0: expected two tokens/,
    );
  });
});
