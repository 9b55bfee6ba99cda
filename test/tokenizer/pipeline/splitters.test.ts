// Compares every native splitter with the regular expression engine (native/tokenizer/regex) on seeded random Unicode.
// A WordLevel model without words gives one unknown token per piece, so that offsets reveal the pieces.
import { describe, expect, it } from "vitest";
import { readTokenizerFile } from "../../../lib/tokenizer/files/tokenizer-json.ts";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { bloomPattern, deepseekPatterns, namedPatterns } from "../../../lib/tokenizer/pipeline/patterns.ts";
import { makePlan } from "../../../lib/tokenizer/pipeline/pipeline.ts";
import { generator, randomText } from "../generated-text.ts";
import { fromJson } from "../samples.ts";

type Step = Record<string, unknown>;
const split = (pattern: string, behavior = "Isolated", invert = false): Step => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior,
  invert,
});
// Mistral's Tekken pattern is that of o200k without contractions, and with single digits.
const tekken = namedPatterns.o200k.replaceAll("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("\\p{N}{1,3}", "\\p{N}");
const digits = "\\p{N}{1,3}";

/** By name: steps with a native splitter, and equivalent patterns that native code does not recognize. */
const cases: Record<string, { steps: Step[]; general: Step[] }> = {};
const add = (name: string, steps: Step[], patterns: string[], behavior?: string, invert?: boolean) => {
  cases[name] = { steps, general: patterns.map((pattern) => split(`(?:${pattern})`, behavior, invert)) };
};
for (const [name, pattern] of Object.entries({ ...namedPatterns, tekken })) {
  add(name, [split(pattern)], [pattern]);
  add(`${name}, removed and inverted`, [split(pattern, "Removed", true)], [pattern], "Removed", true);
}
add(
  "qwen2 with two digits",
  [split(namedPatterns.qwen2.replace("|\\p{N}|", "|\\p{N}{1,2}|"))],
  [namedPatterns.qwen2.replace("|\\p{N}|", "|\\p{N}{1,2}|")],
);
for (const pattern of ["\\p{N}", "\\p{N}+", digits, deepseekPatterns.cjk, deepseekPatterns.rest, bloomPattern]) {
  add(pattern.slice(0, 24), [split(pattern)], [pattern]);
}
const deepseek = [digits, deepseekPatterns.cjk, deepseekPatterns.rest];
add(
  "deepseek",
  deepseek.map((pattern) => split(pattern)),
  deepseek,
);
add(
  "starcoder",
  [{ type: "Digits", individual_digits: true }, split(namedPatterns.gpt2)],
  ["\\p{N}", namedPatterns.gpt2],
);
add("digits in runs", [{ type: "Digits", individual_digits: false }], ["\\p{N}+"]);

function json(steps: Step[]) {
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: steps.length === 1 ? steps[0] : { type: "Sequence", pretokenizers: steps },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: { "<unk>": 0 }, unk_token: "<unk>" },
  };
}

const pieces = (tokenizer: Tokenizer, text: string) => [...tokenizer.encodeWithOffsets(text).offsets];

/** Characters of 1 to 4 bytes and short texts, from every class that a pattern distinguishes. */
const classes = [
  ..."abcdefgh ABC'' \t\n\r..!/_-09",
  "'s",
  "'LL",
  "\r\n",
  "  ",
  "é",
  "É",
  "ǅ",
  "ʰ",
  "ſ",
  "あ",
  "中",
  "龥",
  "龦",
  "한",
  "ا",
  "١",
  "Ⅷ",
  "½",
  "\u0301",
  "\u0903",
  "\u20dd",
  "\u200d",
  "\u00a0",
  "\u0085",
  "\u2028",
  "\u3000",
  "\u001c",
  "\u007f",
  "\u0000",
  "€",
  "…",
  "。",
  "，",
  "、",
  "।",
  "۔",
  "،",
  "(",
  ")",
  "|",
  ",",
  "?",
  "‿",
  "「",
  "😀",
  "👩‍👧",
  "🇩🇪",
  "𝔸",
  "𠀀",
  "\u0378", // unassigned
  "\u{e0100}",
  "\u{10ffff}",
  "\ue000",
  "\ud800",
  "\udc00",
  "<|endoftext|>",
];

/** Returns a text of `classes`. Its runs of up to 18 equal parts cross the splitters' blocks of 16 bytes. */
function mixedText(random: () => number): string {
  const pick = () => classes[Math.floor(random() ** 1.6 * classes.length)]!;
  let text = "";
  for (let runs = 1 + Math.floor(random() * 8); runs > 0; runs--) {
    const one = pick();
    const repeats = random() < 0.3 ? 1 + Math.floor(random() * 18) : 0;
    if (repeats > 0) text += one.repeat(repeats);
    else for (let count = 1 + Math.floor(random() * 9); count > 0; count--) text += pick();
  }
  return text;
}

describe("native splitters", () => {
  for (const [index, [name, { steps, general }]] of Object.entries(cases).entries()) {
    it(`split as the regular expressions do: ${name}`, () => {
      const plan = makePlan(readTokenizerFile(json(steps)));
      // The plan has three numbers for each stage.
      expect([plan.spec.preTokenizer, plan.spec.stages.length]).toEqual([[], 3 * steps.length]);
      expect(makePlan(readTokenizerFile(json(general))).spec.stages).toHaveLength(0);
      const [native, slow] = [fromJson(json(steps)), fromJson(json(general))];
      const random = generator(20261125 + index);
      for (let round = 0; round < 1500; round++) {
        const text = round % 3 === 0 ? randomText(random) : mixedText(random);
        expect(pieces(native, text), JSON.stringify(text)).toEqual(pieces(slow, text));
      }
    });
  }
});
