import { describe, expect, it, vi } from "vitest";
import { encodeDocument, sliceEnd } from "../../lib/data/encode.ts";
import { byteTokenizer } from "./helpers.ts";

const both = { opens: true, closes: true };
const decode = byteTokenizer.decode;

describe("encodeDocument", () => {
  it("adds BOS before and EOS after the text", async () => {
    expect(decode(await encodeDocument("ab", byteTokenizer, both))).toBe("<ab>");
    expect(decode(await encodeDocument("ab", byteTokenizer, { opens: false, closes: true }))).toBe("ab>");
    expect(decode(await encodeDocument("ab", byteTokenizer, { opens: true, closes: false }))).toBe("<ab");
    expect(decode(await encodeDocument("", byteTokenizer, both))).toBe("<>");
  });

  it("adds a single token if BOS equals EOS, and none for a tokenizer without them", async () => {
    const { encode } = byteTokenizer;
    expect([...(await encodeDocument("a", { encode, bosTokenId: 7, eosTokenId: 7 }, both))]).toEqual([7, 97]);
    expect([...(await encodeDocument("a", { encode, eosTokenId: 0 }, both))]).toEqual([97, 0]);
    expect([...(await encodeDocument("a", { encode, bosTokenId: 1, eosTokenIds: [2, 3] }, both))]).toEqual([1, 97, 2]);
    expect([...(await encodeDocument("a", { encode, bosTokenId: 1, eosTokenIds: [1] }, both))]).toEqual([1, 97]);
    expect([...(await encodeDocument("a", { encode, eosTokenIds: [] }, both))]).toEqual([97]);
    expect([...(await encodeDocument("a", { encode, bosTokenId: null }, both))]).toEqual([97]);
  });

  it("does not request special tokens from the tokenizer", async () => {
    const encode = vi.fn(byteTokenizer.encode);
    await encodeDocument("a", { encode }, both);
    expect(encode.mock.calls).toEqual([["a", { addSpecialTokens: false }]]);
  });

  it("encodes a long text in slices, cut at lines, words or characters", async () => {
    const texts = [
      "word ".repeat(30000),
      "a line\n".repeat(20000),
      "日本語".repeat(30000),
      "😀".repeat(40000),
      "  \n\n".repeat(30000),
    ];
    for (const text of texts) {
      const encode = vi.fn(byteTokenizer.encode);
      const ids = await encodeDocument(text, { encode }, both);
      const slices = encode.mock.calls.map(([slice]) => slice);
      expect(slices.length).toBeGreaterThan(1);
      expect(slices.join("")).toBe(text);
      expect(Buffer.from(ids).toString()).toBe(text);
    }
    expect(texts[0]!.slice(sliceEnd(texts[0]!, 0)).startsWith(" word")).toBe(true);
    expect(texts[1]!.slice(sliceEnd(texts[1]!, 0)).startsWith("a line")).toBe(true);
  });

  it("does not block the event loop", async () => {
    const slow = {
      encode: (text: string) => {
        const until = performance.now() + 4;
        while (performance.now() < until);
        return byteTokenizer.encode(text);
      },
    };
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await encodeDocument("word ".repeat(200_000), slow, both); // about 30 slices, 120 ms
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});
