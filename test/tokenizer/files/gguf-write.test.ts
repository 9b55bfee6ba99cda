import { describe, expect, test } from "vitest";
import { GgufMetadata } from "../../../lib/formats/gguf/gguf-metadata.ts";
import { preTokenizerOf } from "../../../lib/tokenizer/files/gguf-pre.ts";
import { tokenizerToGguf } from "../../../lib/tokenizer/files/gguf-write.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { namedPatterns } from "../../../lib/tokenizer/pipeline/patterns.ts";
import { expectError } from "../../formats/helpers.ts";

describe("tokenizerToGguf", () => {
  const ids = { vocabSize: 4, bosTokenId: null, eosTokenIds: [3, 2], padTokenId: 0 };
  const tokenizer = {
    added_tokens: [{ id: 3, content: "<e>", special: true }],
    pre_tokenizer: { type: "ByteLevel", use_regex: true },
    model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] },
  };

  test("writes tokens, end-of-text ids and the chat template", () => {
    const config = {
      chat_template: [
        { name: "tool_use", template: "T" },
        { name: "default", template: "D" },
      ],
    };
    const meta = new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer, config }, ids));
    expect(meta.strings("tokenizer.ggml.tokens")).toEqual(["a", "b", "ab", "<e>"]);
    expect([...meta.numbers("tokenizer.ggml.token_type")!]).toEqual([1, 1, 1, 3]);
    expect(meta.number("tokenizer.ggml.eos_token_id")).toBe(3);
    expect(meta.number("tokenizer.ggml.eot_token_id")).toBe(2);
    expect(meta.string("tokenizer.chat_template")).toBe("D");
    // Named templates in llama.cpp's form.
    expect(meta.strings("tokenizer.chat_templates")).toEqual(["tool_use"]);
    expect(meta.string("tokenizer.chat_template.tool_use")).toBe("T");
    const chatTemplates = { default: "E", rag: "R", "long-context": "L" };
    const own = new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer, config, chatTemplates }, ids));
    const read = Tokenizer.fromGguf(own.record());
    expect(read.applyChatTemplate([]).text).toBe("E");
    expect(read.applyChatTemplate([], { tools: [{}] }).text).toBe("T");
    expect(read.applyChatTemplate([], { template: "rag" }).text).toBe("R");
    // llama.cpp's keys have letters, digits and underscores only.
    expect(own.strings("tokenizer.chat_templates")).toEqual(["tool_use", "rag", "long_context"]);
    expect(read.applyChatTemplate([], { template: "long_context" }).text).toBe("L");
    expect(JSON.parse(meta.requireString("tokenizer.huggingface.json"))).toEqual(tokenizer);
  });

  test("maps every pattern of Tokenizer.train to a name and back", () => {
    for (const [name, pattern] of Object.entries(namedPatterns)) {
      const split = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" };
      const own = {
        ...tokenizer,
        pre_tokenizer: { type: "Sequence", pretokenizers: [split, { type: "ByteLevel", use_regex: false }] },
      };
      const meta = new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer: own }, ids));
      expect(preTokenizerOf(meta.requireString("tokenizer.ggml.pre"))?.patterns, name).toEqual([pattern]);
    }
  });

  test("chooses a pre-tokenizer name that matches ignore_merges", () => {
    const split = { type: "Split", pattern: { Regex: namedPatterns.llama3 }, behavior: "Isolated" };
    const pre_tokenizer = { type: "Sequence", pretokenizers: [split, { type: "ByteLevel", use_regex: false }] };
    const nameOf = (ignore_merges?: boolean) => {
      const own = { ...tokenizer, pre_tokenizer, model: { ...tokenizer.model, ignore_merges } };
      return new GgufMetadata(tokenizerToGguf({ path: "t", tokenizer: own }, ids)).string("tokenizer.ggml.pre");
    };
    // Llama 3's tokenizer sets ignore_merges. The tokenizers of OLMo 2 and Phi 4 have the same pattern without it.
    expect([nameOf(true), nameOf(false), nameOf()]).toEqual(["llama-bpe", "dbrx", "dbrx"]);
  });

  test("rejects malformed tokenizers, and those that GGUF cannot express", async () => {
    const to =
      (extra: object, size = 4) =>
      () =>
        tokenizerToGguf({ path: "t.json", tokenizer: { ...tokenizer, ...extra } }, { ...ids, vocabSize: size });
    await expectError(
      to({ model: { type: "WordLevel" } }),
      "UNSUPPORTED",
      /t.json: tokenizer model: expected BPE, WordPiece or Unigram, got WordLevel/,
    );
    await expectError(
      to({ pre_tokenizer: { type: "ByteLevel", use_regex: true, add_prefix_space: true } }),
      "UNSUPPORTED",
      /t.json: pre_tokenizer: add_prefix_space: GGUF's byte-level BPE does not support it/,
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
