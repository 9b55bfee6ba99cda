// Every byte of normalized text has the offsets of the character from which it was made.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { charsmap } from "../generated.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });
const sequence = (...normalizers: object[]) => ({ type: "Sequence", normalizers });
const map = charsmap([
  ["\u0001", ""],
  ["\u200b", ""],
  ["ﬁ", "fi"],
  ["½", "1⁄2"],
  ["ß", "ss"],
  ["＜", "<"],
  ["e\u0301", "é"],
  ["o\u0308", ""],
]);
const bert = (parts: object) => ({
  type: "BertNormalizer",
  clean_text: false,
  handle_chinese_chars: false,
  strip_accents: false,
  lowercase: false,
  ...parts,
});
const normalizers: Record<string, object> = {
  Precompiled: { type: "Precompiled", precompiled_charsmap: map },
  "Precompiled with the longest matches": { type: "Precompiled", precompiled_charsmap: map, longest: true },
  "Precompiled after Precompiled": sequence(
    { type: "Precompiled", precompiled_charsmap: map },
    {
      type: "Precompiled",
      precompiled_charsmap: charsmap([
        ["f", "gh"],
        ["s", "ab"],
        ["2", ""],
      ]),
    },
  ),
  Nmt: { type: "Nmt" },
  NFC: { type: "NFC" },
  NFD: { type: "NFD" },
  NFKC: { type: "NFKC" },
  NFKD: { type: "NFKD" },
  StripAccents: { type: "StripAccents" },
  "NFKD, StripAccents": sequence({ type: "NFKD" }, { type: "StripAccents" }),
  Lowercase: { type: "Lowercase" },
  "Replace by nothing": replace({ Regex: "[\u0001e\u0308]" }, ""),
  "Replace by more": replace({ String: "ß" }, "xyz"),
  "Replace of empty matches": replace({ Regex: "(?=ß)" }, "-"),
  clean_text: bert({ clean_text: true }),
  handle_chinese_chars: bert({ handle_chinese_chars: true }),
  strip_accents: bert({ strip_accents: true }),
  BertNormalizer: bert({ clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true }),
  "NFKC after deletions": sequence({ type: "Nmt" }, { type: "NFKC" }, { type: "Lowercase" }),
};

/** Texts that no normalizer of the list joins or reorders with their neighbors. */
const units = [
  ...["a", "ﬁ", "½", "ß", "＜", "<", "日", "🦙", "İ", "\u0001", "\u200b", "\u0007", "\u0000", "\ufffd"],
  ...["e\u0301", "o\u0308", "é", "a\u0323\u0307", "a\u0307\u0323", "ﬁ\u0301", "\u1e69\u0323", "\uac00\u11a8"],
];
const texts = fc.array(fc.constantFrom(...units), { maxLength: 9 });

function encoded(tokenizer: Tokenizer, text: string): { bytes: number[]; offsets: [number, number][] } {
  const { ids, offsets } = tokenizer.encodeWithOffsets(text);
  return { bytes: [...ids], offsets: [...ids].map((_, i) => [offsets[2 * i]!, offsets[2 * i + 1]!]) };
}

describe.each(Object.entries(normalizers))("offsets of text normalized by %s", (_, normalizer) => {
  const tokenizer = fromJson(
    byteLevelJson([], {
      normalizer,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    }),
  );
  const images = new Map(units.map((unit) => [unit, encoded(tokenizer, `.${unit}.`).bytes.slice(1, -1)]));

  it("are within the characters that the text was made from, and may extend over deleted characters after them", () => {
    fc.assert(
      fc.property(texts, (parts) => {
        const { bytes, offsets } = encoded(tokenizer, parts.join(""));
        expect(bytes).toEqual(parts.flatMap((part) => images.get(part)!));
        let [token, begin] = [0, 0];
        for (const [i, part] of parts.entries()) {
          const end = begin + part.length;
          let most = end; // the end of the deleted text that follows
          for (let k = i + 1; k < parts.length && images.get(parts[k]!)!.length === 0; k++) most += parts[k]!.length;
          for (const made of offsets.slice(token, token + images.get(part)!.length)) {
            const lies = made[0] >= begin && made[0] <= made[1] && made[0] <= end && made[1] <= most;
            expect(lies, `${JSON.stringify(parts)}: offsets ${made} of text made from ${begin} to ${end}`).toBe(true);
          }
          token += images.get(part)!.length;
          begin = end;
        }
      }),
      { numRuns: 300 },
    );
  });

  it("ascend from token to token", () => {
    const loose = fc.oneof(
      fc.constantFrom(...units, "\u0301", "\u0323", "o", "e"),
      fc.string({ unit: "binary", maxLength: 2 }),
    );
    fc.assert(
      fc.property(fc.array(loose, { maxLength: 9 }), (parts) => {
        const { offsets } = encoded(tokenizer, parts.join(""));
        const ascend = offsets.every(
          ([begin, end], i) => i === 0 || (begin >= offsets[i - 1]![0] && end >= offsets[i - 1]![1]),
        );
        expect(ascend, JSON.stringify(offsets)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});

describe("text that a charsmap deletes", () => {
  const tokenizer = fromJson(
    byteLevelJson([], {
      normalizer: {
        type: "Precompiled",
        precompiled_charsmap: charsmap([
          ["\u0001", ""],
          ["a", "xy"],
        ]),
      },
    }),
  );

  it("text that a charsmap deletes at the start does not shift the offsets of the text after it", () => {
    expect(encoded(tokenizer, "\u0001bc").offsets).toEqual([
      [1, 2],
      [2, 3],
    ]);
    expect(encoded(tokenizer, "\u0001\u0001\u0001bc").offsets).toEqual([
      [3, 4],
      [4, 5],
    ]);
    expect(encoded(tokenizer, "\u0001\u0001").offsets).toEqual([]);
  });

  it("text that a charsmap deletes at the start does not keep Metaspace from adding its mark to the first word", () => {
    const parts = fromJson({
      ...byteLevelJson([]),
      normalizer: { type: "Precompiled", precompiled_charsmap: charsmap([["\u0001", ""]]) },
      pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: true },
      decoder: null,
      model: { type: "BPE", unk_token: "?", vocab: { "?": 0, "▁": 1, b: 2, c: 3 }, merges: [] },
    });
    for (const text of ["b c", "\u0001b c", "\u0001\u0001b\u0001 c"])
      expect([...parts.encode(text)], JSON.stringify(text)).toEqual([1, 2, 1, 3]);
  });

  it("belongs to the last token of the character before it", () => {
    expect(encoded(tokenizer, "b\u0001c").offsets).toEqual([
      [0, 2],
      [2, 3],
    ]);
    expect(encoded(tokenizer, "a\u0001c").offsets).toEqual([
      [0, 1],
      [0, 2],
      [2, 3],
    ]);
  });
});

describe("text that Unicode normalization composes", () => {
  const tokenizer = fromJson(byteLevelJson([], { normalizer: { type: "NFKC" } }));

  it("has the offsets of all characters that it was made from, also if the base is the end of a ligature", () => {
    expect(encoded(tokenizer, "ﬁ\u0301x").offsets).toEqual([
      [0, 1],
      [0, 2],
      [0, 2],
      [2, 3],
    ]);
  });

  it("gives each reordered mark the beginning of the mark whose place it takes, and the end of the last mark", () => {
    // Each mark has two tokens.
    const marks = [1, 1, 2, 2].map((begin) => [begin, 3]);
    expect(encoded(tokenizer, "q\u0307\u0323y").offsets).toEqual([[0, 1], ...marks, [3, 4]]);
  });
});
