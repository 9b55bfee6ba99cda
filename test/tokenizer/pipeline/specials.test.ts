// Special tokens in a text are plain text unless the caller allows them.
import { describe, expect, it } from "vitest";
import { HeddleError, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { added, byteLevelJson, fromJson, sentencePieceJson } from "../samples.ts";

const chat = () =>
  fromJson(
    byteLevelJson([["a", "b"]], {
      added_tokens: [
        added(257, "<|im_start|>"),
        added(258, "<|im_end|>"),
        added(259, "<tool>", { special: false }),
        added(260, "<|im_end|><|x|>"),
        added(261, "word", { special: false }),
      ],
    }),
  );
const text = "ab<|im_end|><|im_start|>ab<tool>";

describe("special tokens in a text", () => {
  it("are plain text by default in every encoding call", async () => {
    const tokenizer = chat();
    const special = (ids: Iterable<number>) => [...ids].filter((id) => id > 256);
    expect(special(tokenizer.encode(text))).toEqual([]);
    expect(special(await tokenizer.encodeAsync(text.repeat(2000)))).toEqual([]);
    expect(special((await tokenizer.encodeBatch([text]))[0]!)).toEqual([]);
    expect(special(tokenizer.encodeWithOffsets(text).ids)).toEqual([]);
    expect(special(tokenizer.encodePair(text, text).ids)).toEqual([]);
    expect(special((await tokenizer.encodeInputs([text]))[0]!.ids)).toEqual([]);
    expect(tokenizer.count(text)).toBe(tokenizer.encode(text).length);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(special(tokenizer.encode("a word"))).toEqual([261]);
  });

  it("are recognized if allowed, all or by name", async () => {
    const tokenizer = chat();
    const ids = (allowSpecial: true | string[]) =>
      [...tokenizer.encode(text, { allowSpecial })].filter((id) => id > 256);
    expect(ids(true)).toEqual([258, 257, 259]);
    expect(ids(["<|im_end|>", "<tool>"])).toEqual([258, 259]);
    expect(ids([])).toEqual([]);
    const options = { allowSpecial: ["<|im_start|>"] };
    const only = tokenizer.encode(text, options);
    expect((await tokenizer.encodeBatch([text, text], options))[1]).toEqual(only);
    expect(tokenizer.encodeWithOffsets(text, options).ids).toEqual(only);
    expect(tokenizer.count(text, options)).toBe(only.length);
    const into = new Uint32Array(100);
    expect(into.slice(0, tokenizer.encodeInto(text, into, options))).toEqual(only);
    // The longest token in the text is matched first. If it is not allowed, all of it is text.
    expect([...tokenizer.encode("<|im_end|><|x|>", { allowSpecial: ["<|im_end|>"] })].filter((id) => id > 256)).toEqual(
      [],
    );
  });

  it("throw if forbidden, and the error names the token", async () => {
    const tokenizer = chat();
    const all = { forbidSpecial: true } as const;
    expect(() => tokenizer.encode(text, all)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("<|im_end|>") }),
    );
    expect(() => tokenizer.count(text, all)).toThrow(HeddleError);
    expect(() => tokenizer.encodeWithOffsets(text, all)).toThrow(HeddleError);
    await expect(tokenizer.encodeBatch(["ab", text], all)).rejects.toThrow("texts[1]");
    await expect(tokenizer.encodeAsync("ab ".repeat(20_000) + text, all)).rejects.toThrow(HeddleError);
    expect(tokenizer.encode("ab <|im_end", all)).toEqual(tokenizer.encode("ab <|im_end"));
    const allowed = { allowSpecial: ["<|im_end|>", "<|im_start|>"], forbidSpecial: true };
    expect(() => tokenizer.encode(text, allowed)).toThrow("<tool>");
    expect([...tokenizer.encode("ab<|im_end|>", allowed)]).toEqual([256, 258]);
    expect(tokenizer.encode(text, { forbidSpecial: ["<|im_end|><|x|>"] })).toEqual(tokenizer.encode(text));
  });

  it("are still added around a text in which they are forbidden", () => {
    const tokenizer = fromJson(sentencePieceJson(["a"], []));
    expect(tokenizer.encode("a", { forbidSpecial: true })[0]).toBe(1);
    expect(() => tokenizer.encode("a<s>", { forbidSpecial: true })).toThrow("<s>");
  });

  it("must exist if given by name", () => {
    const tokenizer = chat();
    for (const options of [{ allowSpecial: ["<|other|>"] }, { forbidSpecial: ["word"] }, { allowSpecial: "all" }]) {
      expect(() => tokenizer.encode("a", options as never)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
  });

  it("must be well-formed Unicode, since lone surrogates all become U+FFFD", async () => {
    const surrogates = [added(257, "<\ud800>"), added(258, "<\udfff>")];
    expect(() => fromJson(byteLevelJson([["a", "b"]], { added_tokens: surrogates }))).toThrow(
      expect.objectContaining({
        code: "INVALID_FILE",
        message: expect.stringContaining('added_tokens[0].content: expected well-formed Unicode, got "<\\ud800>"'),
      }),
    );
    const escaped = JSON.stringify(byteLevelJson([["a", "b"]], { added_tokens: surrogates }));
    for (const file of [escaped, Buffer.from(escaped)])
      expect(() => Tokenizer.fromFiles({ tokenizer: file })).toThrow("added_tokens[0].content: expected well-formed");
    await expect(Tokenizer.train(["a b"], { vocabSize: 300, specialTokens: ["<s>", "<\ud800>"] })).rejects.toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: 'specialTokens: expected strings of well-formed Unicode, got "<\\ud800>"',
      }),
    );
    const tiktoken = { pattern: "gpt2", specialTokens: { "\udc00": 1 } };
    expect(() => Tokenizer.fromFiles({ tiktoken: "YQ== 0", tiktokenOptions: tiktoken })).toThrow("well-formed Unicode");
    const gguf = {
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.tokens": ["a", "\ud800"],
      "tokenizer.ggml.merges": [],
      "tokenizer.ggml.token_type": [1, 3],
    };
    expect(() => Tokenizer.fromGguf(gguf)).toThrow("tokens[1]: expected well-formed Unicode");
    // A surrogate pair is one character.
    expect(() => fromJson(byteLevelJson([["a", "b"]], { added_tokens: [added(257, "<\ud83d\ude00>")] }))).not.toThrow();
  });
});
