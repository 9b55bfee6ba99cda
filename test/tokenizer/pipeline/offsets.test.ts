import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { added, byteLevel, byteLevelJson, fromJson, sentencePieceJson } from "../samples.ts";

/** Returns each token with the part of the text that its offsets select. */
function stretches(tokenizer: Tokenizer, text: string, addSpecialTokens = false): [string | undefined, string][] {
  const { ids, offsets } = tokenizer.encodeWithOffsets(text, { addSpecialTokens, allowSpecial: true });
  return [...ids].map((id, i) => [tokenizer.idToToken(id), text.slice(offsets[2 * i], offsets[2 * i + 1])]);
}

describe("encodeWithOffsets", () => {
  const merges: [string, string][] = [
    ["h", "i"],
    ["Ġ", "hi"],
    ["Ã", "©"],
  ];
  const bytes = fromJson(byteLevelJson(merges, { added_tokens: [added(300, "<|end|>")] }));
  const pieces = fromJson(sentencePieceJson(["▁", "a", "b", "▁a"], [["▁", "a"]]));

  it("counts UTF-16 units and gives a token of a partial character the whole character", () => {
    expect([...bytes.encodeWithOffsets("hi hi é🎉", { allowSpecial: true }).offsets]).toEqual([
      ...[0, 2, 2, 5, 5, 6, 6, 7], // hi, " hi", " ", é
      ...[7, 9, 7, 9, 7, 9, 7, 9], // the four bytes of 🎉
    ]);
    expect(stretches(bytes, "hi<|end|>x")).toEqual([
      ["hi", "hi"],
      ["<|end|>", "<|end|>"],
      ["x", "x"],
    ]);
  });

  it("gives inserted text an empty range", () => {
    expect(stretches(pieces, "a b", true)).toEqual([
      ["<s>", ""],
      ["▁a", "a"],
      ["▁", " "],
      ["b", "b"],
    ]);
    expect([...pieces.encodeWithOffsets("b", { allowSpecial: true }).offsets]).toEqual([0, 0, 0, 0, 0, 1]); // <s>, the added ▁, b
    expect(stretches(pieces, "a</s>é")).toEqual([
      ["▁a", "a"],
      ["</s>", "</s>"],
      ["▁", ""],
      ["<0xC3>", "é"],
      ["<0xA9>", "é"],
    ]);
  });

  it("gives inserted text an empty range and composed characters their whole range, unlike the official library", () => {
    // In the library, ▁ has the range of "b", and é the range of "e" alone.
    expect(stretches(pieces, "b")).toEqual([
      ["▁", ""],
      ["b", "b"],
    ]);
    const unaccented = fromJson(
      byteLevelJson([], {
        normalizer: { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] },
      }),
    );
    expect(stretches(unaccented, "e\u0301x")).toEqual([
      ["e", "e\u0301"],
      ["x", "x"],
    ]);
  });

  it.each([
    ["characters", null, []],
    ["characters and merges", null, [["a", "b"]]],
    ["bytes", { type: "ByteLevel", add_prefix_space: false, use_regex: false }, []],
    ["words", { type: "WhitespaceSplit" }, []],
  ])("leaves out text without a token at the start of a word: %s", (_, pre_tokenizer, merges) => {
    // The official library counts the tokens' bytes from the start of the word. So both tokens of "éab" get the range of "é".
    const vocab = merges.length > 0 ? { a: 0, b: 1, ab: 2 } : { a: 0, b: 1 };
    const tokenizer = fromJson({ pre_tokenizer, model: { type: "BPE", vocab, merges, unk_token: null } });
    const parts = (...texts: string[]) =>
      merges.length > 0
        ? [["ab", texts.join("")]]
        : [
            ["a", texts[0]],
            ["b", texts[1]],
          ];
    expect(stretches(tokenizer, "éab")).toEqual(parts("a", "b"));
    expect(stretches(tokenizer, "éüab")).toEqual(parts("a", "b"));
    // Later text without a token belongs to the token before it.
    expect(stretches(tokenizer, "éaüb")).toEqual(parts("aü", "b"));
    expect(stretches(tokenizer, "abé")).toEqual(parts("a", "bé"));
    expect(stretches(tokenizer, "é")).toEqual([]);
    const { ids, offsets } = tokenizer.encodeWithOffsets("éab");
    expect([...offsets]).toEqual(ids.length === 1 ? [1, 3] : [1, 2, 2, 3]);
  });

  it("places the tokens of a long prepended text at the start of the text", () => {
    const front = fromJson(byteLevelJson(merges, { normalizer: { type: "Prepend", prepend: "▁ab" } }));
    expect([...front.encodeWithOffsets("hi", { allowSpecial: true }).offsets]).toEqual([...Array(10).fill(0), 0, 2]);
    const parts = fromJson(sentencePieceJson(["▁", "a", "b"], [], { normalizer: { type: "Prepend", prepend: "▁ab" } }));
    expect(stretches(parts, "b")).toEqual([
      ["▁", ""],
      ["a", ""],
      ["b", ""],
      ["b", "b"],
    ]);
  });

  it("maps back through normalizers", () => {
    const nfc = fromJson(byteLevelJson(merges, { normalizer: { type: "NFC" } }));
    expect(stretches(nfc, "e\u0301hi")).toEqual([
      ["Ã©", "e\u0301"],
      ["hi", "hi"],
    ]);
    const replaced = fromJson(
      byteLevelJson(merges, {
        normalizer: {
          type: "Sequence",
          normalizers: [{ type: "Replace", pattern: { String: "—" }, content: "hi" }, { type: "Lowercase" }],
        },
      }),
    );
    // GPT-2's split keeps "hihi" in one piece. The merges give the token "hi" twice.
    expect(stretches(replaced, "HI— x")).toEqual([
      ["hi", "HI"],
      ["hi", "—"],
      ["Ġ", " "],
      ["x", "x"],
    ]);
  });

  it("gives the ids of encode, and ordered offsets that cover the text, for any text", () => {
    const slow = fromJson(
      byteLevelJson(merges, {
        normalizer: { type: "NFKC" },
        pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Punctuation" }, byteLevel] },
      }),
    );
    const unit = fc.oneof(
      fc.constantFrom("h", "i", " ", "a", "b", "é", "e\u0301", "ﬁ", "🎉", "</s>", "<|end|>", "\ud800"),
      fc.string({ unit: "binary", maxLength: 2 }),
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 20 }), (parts) => {
        const text = parts.join("");
        for (const tokenizer of [bytes, pieces, slow]) {
          const { ids, offsets } = tokenizer.encodeWithOffsets(text, { allowSpecial: true });
          expect(ids).toEqual(tokenizer.encode(text, { allowSpecial: true }));
          expect(offsets).toHaveLength(2 * ids.length);
          const first = tokenizer === pieces ? 2 : 0; // BOS has 0, 0
          for (let i = first; i < offsets.length; i += 2) {
            expect(offsets[i]).toBeLessThanOrEqual(offsets[i + 1]!);
            if (i > first) expect(offsets[i]).toBeGreaterThanOrEqual(offsets[i - 2]!);
          }
          // Together the ranges cover the text.
          const covered = new Uint8Array(text.length);
          for (let i = first; i < offsets.length; i += 2) covered.fill(1, offsets[i], offsets[i + 1]);
          expect(covered.every((one) => one === 1)).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });
});
