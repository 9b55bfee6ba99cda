// `trim_offsets` of the byte-level and RoBERTa post-processors, compared with stored values and with the official library if installed.
import { describe, expect, it } from "vitest";
import { oracleFolder } from "../files/packaged.ts";
import { generator, randomText } from "../generated.ts";
import { officialLibrary } from "../oracles/official-library.ts";
import { added, byteLevel, byteLevelJson, fromJson } from "../samples.ts";

const merges: [string, string][] = [
  ["h", "i"],
  ["Ġ", "hi"],
  ["Ġ", "Ġ"],
  ["ĠĠ", "Ġ"],
  ["hi", "Ġ"],
  ["Â", "ł"],
  ["ð", "Ł"],
  ["ðŁ", "ĺ"],
  ["ðŁĺ", "Ģ"],
  ["Ġ", "ðŁĺĢ"],
  ["Ã", "©"],
  ["Ġ", "Ã©"],
];
const specials = [
  added(400, "<s>"),
  added(401, "</s>"),
  added(402, "<mask>", { lstrip: true }),
  added(403, " a\u00a0"),
];
const level = (trims: boolean, prefix = false) => ({ ...byteLevel, trim_offsets: trims, add_prefix_space: prefix });
const roberta = (trims: boolean, prefix = false) => ({
  type: "RobertaProcessing",
  sep: ["</s>", 401],
  cls: ["<s>", 400],
  trim_offsets: trims,
  add_prefix_space: prefix,
});
const template = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [],
  special_tokens: { "<s>": { id: "<s>", ids: [400], tokens: ["<s>"] } },
};
const regex = (use_regex: boolean, prefix = false) => ({ ...level(true, prefix), use_regex });

const jsonOf = (postProcessor: object | null, preTokenizer: object = regex(false)) =>
  byteLevelJson(merges, { added_tokens: specials, post_processor: postProcessor, pre_tokenizer: preTokenizer });
const stretches = (json: object, text: string, units: "utf16" | "bytes" = "utf16") => {
  const { offsets } = fromJson(json as never).encodeWithOffsets(text, { allowSpecial: true, units });
  return Array.from({ length: offsets.length / 2 }, (_, t) => [offsets[2 * t], offsets[2 * t + 1]]);
};

describe("trim_offsets", () => {
  it("excludes leading and trailing blanks of a token if the file says so", () => {
    const text = "hi hi    hi ";
    const whole = [
      [0, 2],
      [2, 5], // Ġhi
      [5, 8], // ĠĠĠ
      [8, 11], // Ġhi
      [11, 12],
    ];
    for (const kept of [null, level(false)]) expect(stretches(jsonOf(kept), text)).toEqual(whole);
    const trimmed = [
      [0, 2],
      [3, 5],
      [8, 8],
      [9, 11],
      [12, 12],
    ];
    expect(stretches(jsonOf(level(true)), text)).toEqual(trimmed);
    expect(stretches(jsonOf(roberta(true)), text)).toEqual([[0, 0], ...trimmed, [0, 0]]);
    expect(stretches(jsonOf(roberta(false)), text)).toEqual([[0, 0], ...whole, [0, 0]]);
  });

  it("does not trim the space that the pre-tokenizer prepended", () => {
    const prefixed = (keeps: boolean) => jsonOf(level(true, keeps), regex(true, true));
    expect(stretches(prefixed(true), "hi hi")).toEqual([
      [0, 2],
      [3, 5],
    ]);
    // As in the library, the first letter is cut if the post-processor does not expect the prefix.
    expect(stretches(prefixed(false), "hi hi")[0]).toEqual([1, 2]);
  });

  it("treats the first token's only leading blank as the prefix, and several leading blanks as text", () => {
    const json = jsonOf(level(true, true));
    expect(stretches(json, " hi")[0]).toEqual([0, 3]);
    expect(stretches(json, "  hi")).toEqual([
      [0, 0],
      [2, 4],
    ]);
    expect(stretches(json, "   hi")).toEqual([
      [2, 2],
      [3, 5],
    ]);
    expect(stretches(json, "    hi")).toEqual([
      [3, 3],
      [4, 6],
    ]);
  });

  it("never splits a character", () => {
    const json = jsonOf(level(true, false), regex(true, true));
    expect(stretches(json, "😀hi", "utf16")[0]).toEqual([2, 2]);
    expect(stretches(json, "😀hi", "bytes")[0]).toEqual([4, 4]);
    expect(stretches(json, "éhi", "bytes")[0]).toEqual([2, 2]);
  });

  it("counts bytes on request", () => {
    const json = jsonOf(level(true));
    expect(stretches(json, "é hi", "bytes").slice(-1)).toEqual([[3, 5]]);
    // An added token with blanks: a one-byte space before and a two-byte space after.
    expect(stretches(json, "x a\u00a0", "bytes").slice(-1)).toEqual([[2, 3]]);
    expect(stretches(json, "x a\u00a0").slice(-1)).toEqual([[2, 3]]);
  });

  it("takes linear time in the white space before an added token", () => {
    const blanks = 100_000;
    expect(stretches(jsonOf(level(true)), `${" ".repeat(blanks)}<mask>`)).toEqual([[blanks, blanks + 6]]);
  }, 30_000);
});

describe.skipIf(oracleFolder === undefined)("trim_offsets beside the official library", () => {
  const processors: [string, object | null][] = [
    ["none", null],
    ["byte level that keeps blanks", level(false)],
    ["byte level", level(true)],
    ["byte level with a prefix space", level(true, true)],
    ["RoBERTa", roberta(true)],
    ["RoBERTa with a prefix space", roberta(true, true)],
    ["byte level, then a template", { type: "Sequence", processors: [level(true), template] }],
    ["a template, then byte level", { type: "Sequence", processors: [template, level(true, true)] }],
    ["byte level twice", { type: "Sequence", processors: [level(true), level(true)] }],
  ];
  it.each(processors)("gives the official library's offsets with the post-processor %s", async (_, postProcessor) => {
    for (const [p, prefix] of [false, false, true].entries()) {
      const json = jsonOf(postProcessor, regex(p !== 1, prefix));
      const official = officialLibrary().Tokenizer.fromString(JSON.stringify(json));
      const tokenizer = fromJson(json);
      const random = generator(31 + p);
      for (let i = 0; i < 300; i++) {
        const blanks = [
          "  hi",
          "   hi",
          "    \nhi",
          "😀",
          "hi   ",
          " \u00a0hi",
          "<mask> hi",
          "hi  <mask>",
          " a\u00a0 hi",
          "",
        ];
        const text = (blanks[i % blanks.length]! + randomText(random)).toWellFormed();
        const wanted = (await official.encode(text)).getOffsets();
        // The library counts code points.
        const units = [0];
        for (const character of text) units.push(units.at(-1)! + character.length);
        const { ids, offsets } = tokenizer.encodeWithOffsets(text, { allowSpecial: true });
        const got = Array.from({ length: offsets.length / 2 }, (_, t) => [offsets[2 * t]!, offsets[2 * t + 1]!]);
        const expected = wanted.map(([a, b]) => [units[a!]!, units[b!]!]);
        // If the prepended space is a separate token, its range is empty here, but is the next character's in the library.
        const isPrefix = (t: number) => prefix && tokenizer.idToToken(ids[t]!) === "Ġ" && got[t]![0] === got[t]![1];
        expect(
          got.filter((_, t) => !isPrefix(t)),
          JSON.stringify(text),
        ).toEqual(expected.filter((_, t) => !isPrefix(t)));
      }
    }
  });
});
