// Vocabulary files other than tokenizer.json: SentencePiece, tiktoken's ranks, vocab.json with merges.txt, vocab.txt.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeddleError, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { byteNames } from "../samples.ts";

const golden = (name: string) => new URL(`../../golden/sentencepiece/${name}`, import.meta.url);
const fixtures = fileURLToPath(new URL("../../../../shared/fixtures/tokenizers/", import.meta.url));
const plain = { addSpecialTokens: false, allowSpecial: false };

interface Row {
  text: string;
  ids: Record<string, number[]>;
}

describe("tokenizer.model", () => {
  const bytes = new Uint8Array(readFileSync(golden("unigram.model")));

  it("tokenizer.model of a Unigram model gives SentencePiece's ids and texts", () => {
    const tokenizer = Tokenizer.fromFiles({ model: bytes });
    const rows = JSON.parse(readFileSync(golden("unigram.json"), "utf8")) as [string, number[], string][];
    for (const [text, ids, decoded] of rows) {
      expect([...tokenizer.encode(text, plain)], JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded);
    }
    expect([...tokenizer.encode("a", { allowSpecial: true })].at(-1)).toBe(tokenizer.tokenToId("</s>"));
  });

  it("is extended by added tokens from any file of its folder", () => {
    const size = Tokenizer.fromFiles({ model: bytes }).vocabSize;
    const config = { eos_token: "<|im_end|>" };
    const added_tokens_decoder = {
      [size]: {
        content: "<|im_end|>",
        lstrip: false,
        normalized: false,
        rstrip: false,
        single_word: false,
        special: true,
      },
      [size + 1]: { content: "<|im_start|>", special: true, normalized: false },
      [size + 2]: { content: "<tool>", special: false, normalized: false },
    };
    const addedTokens = { "<|im_end|>": size, "<|im_start|>": size + 1, "<tool>": size + 2 };
    const special_tokens = { additional_special_tokens: ["<|im_start|>"] };
    const ways = [
      { tokenizerConfig: JSON.stringify({ ...config, added_tokens_decoder }) },
      {
        tokenizerConfig: JSON.stringify(config),
        specialTokensMap: JSON.stringify(special_tokens),
        addedTokens: JSON.stringify(addedTokens),
      },
    ];
    for (const texts of ways) {
      const tokenizer = Tokenizer.fromFiles({ model: bytes, ...texts });
      expect(tokenizer.eosTokenIds).toEqual([size]);
      const ids = tokenizer.encode("<|im_start|>a<tool><|im_end|>", { addSpecialTokens: false, allowSpecial: true });
      expect([ids[0], ids.at(-2), ids.at(-1)]).toEqual([size + 1, size + 2, size]);
      const specials = [...tokenizer.specialTokens.keys()];
      expect(specials).toEqual(expect.arrayContaining(["<|im_end|>", "<|im_start|>"]));
      expect(specials).not.toContain("<tool>");
      expect(tokenizer.decode([size + 1], { skipSpecialTokens: false })).toBe("<|im_start|>");
    }
    expect(() => Tokenizer.fromFiles({ model: bytes, addedTokens: '{"<x>": -1}' })).toThrowError(/added_tokens/u);
  });

  it("is not changed by added tokens that are already pieces", () => {
    const plainOne = Tokenizer.fromFiles({ model: bytes });
    const listedAgain = Object.fromEntries(plainOne.addedTokens.map((token) => [token.id, { content: token.content }]));
    const tokenizerConfig = JSON.stringify({ added_tokens_decoder: listedAgain });
    expect(Tokenizer.fromFiles({ model: bytes, tokenizerConfig }).addedTokens).toEqual(plainOne.addedTokens);
  });

  it.skipIf(!existsSync(fixtures))("tokenizer.model of a BPE model gives the ids of its tokenizer.json", async () => {
    const tokenizer = await Tokenizer.load(`${fixtures}llama2/tokenizer.model`);
    for (const line of readFileSync(`${fixtures}oracle.jsonl`, "utf8").trim().split("\n")) {
      const { text, ids } = JSON.parse(line) as Row;
      expect(
        [...tokenizer.encode(text, { addSpecialTokens: false, allowSpecial: true })],
        JSON.stringify(text),
      ).toEqual(ids.llama2);
    }
    expect(tokenizer.encode("a", { allowSpecial: true })[0]).toBe(1);
  });

  it("is rejected if it is not a SentencePiece model, or is truncated", () => {
    const of = (model: Uint8Array) => () => Tokenizer.fromFiles({ model });
    expect(of(Buffer.from("<html>"))).toThrow(/^tokenizer\.model: not a SentencePiece model: /);
    expect(of(bytes.subarray(0, bytes.length - 1))).toThrow(/ends at byte \d+ of at least \d+$/);
  });

  it("gives a tokenizer or a HeddleError if truncated or corrupted anywhere", () => {
    const survives = (model: Uint8Array) => {
      try {
        const tokenizer = Tokenizer.fromFiles({ model });
        tokenizer.decode(tokenizer.encode("It's 12 日本 <s>", { addSpecialTokens: false, allowSpecial: true }));
      } catch (error) {
        expect(error).toBeInstanceOf(HeddleError);
        expect((error as HeddleError).code).toMatch(/INVALID_FILE|UNSUPPORTED/u);
      }
    };
    for (let end = 0; end < bytes.length; end += 97) survives(bytes.subarray(0, end));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
        const broken = Uint8Array.from(bytes);
        for (const [at, value] of changes) broken[at] = value;
        survives(broken);
      }),
      { numRuns: 150 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), survives), { numRuns: 300 });
  });
});

describe("vocab.json with merges.txt (GPT-2)", () => {
  const path = `${fixtures}gpt2/tokenizer.json`;
  it.skipIf(!existsSync(path))("gives the ids of tokenizer.json, as ranks of tiktoken do", () => {
    const { model } = JSON.parse(readFileSync(path, "utf8")) as {
      model: { vocab: Record<string, number>; merges: (string | string[])[] };
    };
    const merges = model.merges.map((merge) => (Array.isArray(merge) ? merge.join(" ") : merge));
    const end = "<|endoftext|>";
    const files = Tokenizer.fromFiles({
      vocab: JSON.stringify(model.vocab),
      merges: `#version: 0.2\n${merges.join("\n")}\n`,
      tokenizerConfig: JSON.stringify({ bos_token: end, eos_token: end, tokenizer_class: "GPT2Tokenizer" }),
    });
    const lines = Object.entries(model.vocab)
      .filter(([token]) => token !== end)
      .map(([token, id]) => `${Buffer.from(Array.from(token, (c) => byteNames.indexOf(c))).toString("base64")} ${id}`);
    const ranks = Tokenizer.fromFiles({
      tiktoken: `${lines.join("\n")}\n`,
      tiktokenOptions: { pattern: "gpt2", specialTokens: { [end]: model.vocab[end]! } },
    });
    for (const line of readFileSync(`${fixtures}oracle.jsonl`, "utf8").trim().split("\n")) {
      const { text, ids } = JSON.parse(line) as Row;
      expect([...files.encode(text, { allowSpecial: true })], JSON.stringify(text)).toEqual(ids.gpt2);
      expect([...ranks.encode(text, { allowSpecial: true })], JSON.stringify(text)).toEqual(ids.gpt2);
    }
  });

  it("is rejected if invalid, like ranks of tiktoken, with an error that names the cause", () => {
    const ranks = (tiktoken: string) => () => Tokenizer.fromFiles({ tiktoken, tiktokenOptions: { pattern: "gpt2" } });
    expect(ranks("")).toThrowError(/expected at least one line of base64 and a rank, got 0$/u);
    expect(ranks("YQ== 0\nYQ== 1\n")).toThrowError(/line 2.*each token once/u);
    expect(ranks("YQ== 0\n% 1\n")).toThrowError(/line 2/u);
    expect(ranks("YQ== 9999999\n")).toThrowError(/line 1/u);
    expect(() => Tokenizer.fromFiles({ tiktoken: "YQ== 0\n" })).toThrowError(/tiktokenOptions/u);
    expect(() => Tokenizer.fromFiles({ vocab: "[]", merges: "" })).toThrowError(/vocab.json/u);
    expect(() => Tokenizer.fromFiles({ vocab: "{", merges: "" })).toThrowError(/vocab.json/u);
    expect(() => Tokenizer.fromFiles({ vocab: "{}", merges: "a b c" })).toThrowError(/merges\[0\]/u);
    expect(() => Tokenizer.fromFiles({})).toThrowError(/tokenizer.json/u);
  });
});

describe("vocab.txt", () => {
  const vocabText = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\n,\nhello\nHello\n";
  it("loads as BERT's WordPiece", () => {
    const tokenizer = Tokenizer.fromFiles({ vocabText });
    const ids = [...tokenizer.encode("Hello, UNAFFABLE x [MASK]", { allowSpecial: true })];
    expect(ids).toEqual([2, 9, 8, 5, 6, 7, 1, 4, 3]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("hello, unaffable");
  });
  it("keeps case if tokenizer_config.json says so", () => {
    const tokenizer = Tokenizer.fromFiles({ vocabText, tokenizerConfig: JSON.stringify({ do_lower_case: false }) });
    expect([...tokenizer.encode("Hello hello", plain)]).toEqual([10, 9]);
  });
  it("is rejected without BERT's tokens", () => {
    expect(() => Tokenizer.fromFiles({ vocabText: "a\nb\n" })).toThrowError(/vocab.txt.*\[CLS\]/u);
  });
});
