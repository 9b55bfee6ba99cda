// addPrefixSpace: false omits the space that a tokenizer prepends, on every code path and in every call.
import { beforeAll, describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { prefixedTokenizers, sample } from "./prefixed.ts";

const plain = { addSpecialTokens: false } as const;
const without = { ...plain, addPrefixSpace: false } as const;

let tokenizers: { name: string; tokenizer: Tokenizer }[];
beforeAll(async () => {
  tokenizers = await prefixedTokenizers();
});

const bytesOf = (tokenizer: Tokenizer, ids: Uint32Array) =>
  Buffer.concat(Array.from(ids, (id) => tokenizer.tokenBytes(id))).toString();

describe("addPrefixSpace", () => {
  it("omits the prepended space if false, and keeps it by default", () => {
    for (const { name, tokenizer } of tokenizers)
      for (const text of ["able", " blue.", "\nThe sky", "  two", "ü"]) {
        expect(bytesOf(tokenizer, tokenizer.encode(text, without)), `${name}: ${text}`).toBe(text);
        const bytes = bytesOf(tokenizer, tokenizer.encode(text, plain));
        expect([` ${text}`, text], `${name}: ${text}`).toContain(bytes);
        if (!text.startsWith(" ")) expect(bytes, `${name}: ${text}`).toBe(` ${text}`);
      }
  });

  it("does not affect BOS, EOS or the text between special tokens", () => {
    for (const { name, tokenizer } of tokenizers) {
      const { bosTokenId } = tokenizer;
      const ids = tokenizer.encode("cat", { addPrefixSpace: false });
      expect(ids[0], name).toBe(bosTokenId);
      expect([...ids.slice(1)], name).toEqual([...tokenizer.encode("cat", without)]);
      // Only the beginning of the text loses its space. The part after </s> keeps it.
      const text = "cat</s>cat";
      const end = tokenizer.encode("</s>cat", { ...plain, allowSpecial: true });
      const all = tokenizer.encode(text, { ...without, allowSpecial: true });
      expect([...all], name).toEqual([...tokenizer.encode("cat", without), ...end]);
    }
  });

  it("works in every call that encodes", async () => {
    const long = sample.join("\n").repeat(200);
    for (const { name, tokenizer } of tokenizers) {
      const ids = [...tokenizer.encode(long, without)];
      expect(ids, name).not.toEqual([...tokenizer.encode(long, plain)]);
      expect([...(await tokenizer.encodeAsync(long, without))], name).toEqual(ids);
      expect([...(await tokenizer.encodeBatch([long, "able"], without))[0]!], name).toEqual(ids);
      expect([...tokenizer.encodeWithOffsets(long, without).ids], name).toEqual(ids);
      expect(tokenizer.count(long, without), name).toBe(ids.length);
      expect([...tokenizer.encode(long, { ...without, allowSpecial: ["</s>"] })], name).toEqual(ids);
    }
  });

  it("has no effect on a byte-level tokenizer, unless that prepends a space", async () => {
    const tokenizer = await Tokenizer.train(sample, { vocabSize: 300 });
    for (const text of [...sample, "able", " able"])
      expect([...tokenizer.encode(text, without)]).toEqual([...tokenizer.encode(text, plain)]);
    const file = JSON.parse(tokenizer.files()["tokenizer.json"]!);
    file.pre_tokenizer = { type: "ByteLevel", add_prefix_space: true, use_regex: true };
    const spaced = Tokenizer.fromFiles({ tokenizer: JSON.stringify(file) });
    expect(bytesOf(spaced, spaced.encode("able", plain))).toBe(" able");
    expect([...spaced.encode("able", without)]).toEqual([...tokenizer.encode("able", plain)]);
  });

  it("must be a boolean", () => {
    const { tokenizer } = tokenizers[0]!;
    const wrong = { addPrefixSpace: "no" } as unknown as { addPrefixSpace: boolean };
    expect(() => tokenizer.encode("a", wrong)).toThrow(/^addPrefixSpace: expected true or false, got "no"/);
  });
});
