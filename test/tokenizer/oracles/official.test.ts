// Every component of tokenizer.json matches the official library's stored values (scripts/golden/tokenizers.mjs).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { families, generator, randomText } from "../generated.ts";

const golden = JSON.parse(readFileSync(new URL("../../golden/tokenizers.json", import.meta.url), "utf8")) as Record<
  string,
  [number[], string][]
>;

/** The official library always recognizes special tokens in a text. */
const recognized = { allowSpecial: true };

describe.each(Object.entries(families()).map(([name, json], index) => ({ name, json, index })))(
  "$name",
  ({ name, json, index }) => {
    const rows = golden[name]!;
    const random = generator(index);
    const texts = rows.map(() => randomText(random));
    const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify(json) });

    it("gives the ids and text of the official library", () => {
      expect(rows.length).toBeGreaterThan(10);
      for (const [i, [ids, decoded]] of rows.entries()) {
        expect([...tokenizer.encode(texts[i]!, recognized)], JSON.stringify(texts[i])).toEqual(ids);
        expect(tokenizer.decode(ids, { skipSpecialTokens: i % 2 === 0 }), JSON.stringify(texts[i])).toBe(decoded);
      }
    });

    it("gives the same ids in batches, with offsets and after saving", async () => {
      const batch = await tokenizer.encodeBatch(texts, recognized);
      const again = Tokenizer.fromFiles({ tokenizer: tokenizer.files()["tokenizer.json"] });
      for (const [i, text] of texts.entries()) {
        const ids = tokenizer.encode(text, recognized);
        expect(batch[i]).toEqual(ids);
        expect(again.encode(text, recognized)).toEqual(ids);
        const withOffsets = tokenizer.encodeWithOffsets(text, recognized);
        expect(withOffsets.ids).toEqual(ids);
        expect(tokenizer.count(text, recognized)).toBe(ids.length);
        for (let k = 0; k < ids.length; k++) {
          const [begin, end] = [withOffsets.offsets[2 * k]!, withOffsets.offsets[2 * k + 1]!];
          expect(begin <= end && end <= text.length, JSON.stringify(text)).toBe(true);
        }
      }
    });
  },
);

describe("encodePair", () => {
  // Values of the official library for "the café 12" and "un able, 日本".
  const roberta = { type: "RobertaProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2], trim_offsets: true };
  const [first, second] = [
    [5, 458, 21, 503, 270, 42, 305],
    [185, 14, 453, 270, 138, 49, 50],
  ];
  const cases: [string, object, number[], number[]][] = [
    ["template", {}, [2, ...first!, 3, ...second!, 3], [...Array(9).fill(0), ...Array(8).fill(1)]],
    ["RoBERTa", { post_processor: roberta }, [2, ...first!, 3, 3, ...second!, 3], Array(18).fill(0)],
    ["none", { post_processor: null }, [...first!, ...second!], [...Array(7).fill(0), ...Array(7).fill(1)]],
  ];
  it.each(cases)("follows the post-processor: %s", (_, change, ids, typeIds) => {
    const tokenizer = Tokenizer.fromFiles({ tokenizer: JSON.stringify({ ...families().bert, ...change }) });
    const pair = tokenizer.encodePair("the café 12", "un able, 日本");
    expect([...pair.ids]).toEqual(ids);
    expect([...pair.typeIds]).toEqual(typeIds);
    const bare = tokenizer.encodePair("the café 12", "un able, 日本", { addSpecialTokens: false });
    expect([...bare.ids]).toEqual([...first!, ...second!]);
  });
});
