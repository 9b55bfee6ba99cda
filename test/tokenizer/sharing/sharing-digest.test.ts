// The digest that decides whether tokenizers share tables detects one changed value at any position, in data of any length.
import { describe, expect, it } from "vitest";
import { added, byteLevelJson, byteNames, fromJson, splitBy } from "../samples.ts";

const numberOf = (tokenizer: unknown) => (tokenizer as { native: { modelNumber: number } }).native.modelNumber;

/** Lengths around the sizes of words, blocks and cache lines, in units of 1, 2, 4 and 8 bytes. */
const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 63, 64, 65, 100];

describe("files do not share tables", () => {
  type Make = (units: number[]) => Record<string, unknown>;
  const letters = (units: number[]) => String.fromCharCode(...units.map((unit) => 0x61 + unit));
  const model = (type: string, vocab: unknown, overrides: Record<string, unknown> = {}) => ({
    type,
    vocab,
    ...overrides,
  });
  const wordLevel = (vocab: Record<string, number>) => ({
    ...byteLevelJson([]),
    pre_tokenizer: { type: "Whitespace" },
    decoder: null,
    model: model("WordLevel", vocab, { unk_token: "?" }),
  });
  const bits = new DataView(new ArrayBuffer(8));
  const number = (word: bigint) => {
    bits.setBigUint64(0, word);
    return bits.getFloat64(0);
  };
  /** Each makes a file from at most `most` numbers between 0 and 15. */
  const kinds: Record<string, { make: Make; most: number }> = {
    "added tokens": {
      make: (units) => byteLevelJson([], { added_tokens: [added(256, `x${letters(units)}`)] }),
      most: 100,
    },
    patterns: { make: (units) => byteLevelJson([], { pre_tokenizer: splitBy(`x${letters(units)}`) }), most: 200 },
    "replacement texts": {
      make: (units) =>
        byteLevelJson([], { normalizer: { type: "Replace", pattern: { String: "x" }, content: letters(units) } }),
      most: 200,
    },
    tokens: { make: (units) => wordLevel({ "?": 0, [`x${letters(units)}`]: 1 }), most: 200 },
    ids: {
      make: (units) =>
        wordLevel(Object.fromEntries([["?", 0], ...units.map((unit, i) => [`x${i}`, 1 + 16 * i + unit])])),
      most: 50,
    },
    merges: {
      make: (units) =>
        byteLevelJson(
          units.map((unit, i): [string, string] => [byteNames[i]!, byteNames[100 + unit]!]),
          {},
          { vocab: everyPair },
        ),
      most: 50,
    },
    scores: {
      make: (units) => ({
        ...byteLevelJson([]),
        pre_tokenizer: null,
        decoder: null,
        model: model("Unigram", [["?", 0], ...units.map((unit, i) => [`x${i}`, -1 - unit])], { unk_id: 0 }),
      }),
      most: 25,
    },
  };
  const everyPair = Object.fromEntries(
    [
      ...byteNames,
      ...byteNames.slice(0, 50).flatMap((left) => byteNames.slice(100, 116).map((right) => left + right)),
    ].map((token, id) => [token, id]),
  );
  for (const [name, { make, most }] of Object.entries(kinds)) {
    it(`files do not share tables if ${name} of any length differ in one place`, () => {
      for (const length of lengths.filter((some) => some <= most)) {
        const units = Array.from({ length }, (_, i) => (7 * i) % 15);
        const kept = [fromJson(make(units))]; // kept alive, so that tables could be shared
        for (let place = 0; place < length; place++) kept.push(fromJson(make(units.with(place, units[place]! + 1))));
        expect(new Set(kept.map(numberOf)).size, `${length}`).toBe(length + 1);
        expect(numberOf(fromJson(make(units))), `${length}`).toBe(numberOf(kept[0]));
      }
    });
  }

  it("files do not share tables if scores differ in top bits that would cancel in sums and products", () => {
    const make = (scores: number[]) =>
      fromJson({
        ...byteLevelJson([]),
        pre_tokenizer: null,
        decoder: null,
        model: model(
          "Unigram",
          scores.map((score, i) => [`x${i}`, score]),
          { unk_id: 0 },
        ),
      });
    const scores = Array.from({ length: 13 }, (_, i) => -1 - i);
    const word = (score: number) => {
      bits.setFloat64(0, score);
      return bits.getBigUint64(0);
    };
    const kept = [make(scores)];
    let others = 0;
    for (const shift of [29n, 31n, 32n, 33n]) {
      for (const apart of [1, 2, 4, 8]) {
        for (let at = 0; at + apart < scores.length; at++) {
          const changed = [...scores];
          changed[at] = number(word(scores[at]!) ^ (1n << 63n));
          changed[at + apart] = number(word(scores[at + apart]!) ^ (1n << 63n) ^ (1n << (63n - shift)));
          kept.push(make(changed));
          others++;
        }
      }
    }
    expect(new Set(kept.map(numberOf)).size).toBe(others + 1);
  });
});
