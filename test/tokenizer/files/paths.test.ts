// Tokenizers take the fast path (hand-written splitters and a word cache) or the general path (steps and regular expressions), as
// native/tokenizer/README.md lists.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseTokenizerFile, readTokenizerFile } from "../../../lib/tokenizer/files/tokenizer-json.ts";
import { bloomPattern, namedPatterns } from "../../../lib/tokenizer/pipeline/patterns.ts";
import { makePlan } from "../../../lib/tokenizer/pipeline/pipeline.ts";
import { byteLevel, byteLevelJson, splitBy } from "../samples.ts";
import { published } from "./published.ts";

type Path = "fast" | "fast behind a normalizer" | "general";
function pathOf({ spec }: ReturnType<typeof makePlan>): Path {
  if (spec.preTokenizer.length > 0) return "general";
  return spec.usesNormalizer ? "fast behind a normalizer" : "fast";
}

const expected: Record<string, Path> = { claude: "fast behind a normalizer" };
describe("published tokenizers", () => {
  for (const { name, path } of published) {
    it.skipIf(path === undefined)(`the tokenizer of ${name} takes the documented code path`, () => {
      expect(pathOf(makePlan(parseTokenizerFile(readFileSync(path!))))).toBe(expected[name] ?? "fast");
    });
  }
});

const level = { ...byteLevel, use_regex: false };
const sequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const digits = { type: "Digits", individual_digits: true };

describe("published pre-tokenizers", () => {
  it.each<[string, object, Path]>([
    ["GPT-2, RoBERTa, Phi 2, OLMo, ModernBERT", byteLevel, "fast"],
    ["GPT-4, Llama 3, Falcon 3, GLM 4", splitBy(namedPatterns.llama3), "fast"],
    ["Qwen 2 and 3", splitBy(namedPatterns.qwen2), "fast"],
    ["GPT-4o, gpt-oss, Llama 4", splitBy(namedPatterns.o200k), "fast"],
    ["StarCoder, SmolLM, Command R", sequence(digits, byteLevel), "fast"],
    ["BLOOM", sequence(split(bloomPattern), level), "fast"],
    [
      "Falcon 1 and 2",
      sequence(
        { type: "Punctuation", behavior: "Contiguous" },
        byteLevel,
        { type: "Digits" },
        split("[0-9][0-9][0-9]"),
      ),
      "general",
    ],
    [
      "DeepSeek LLM and Coder",
      sequence(split("[\\r\\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"), digits, level),
      "general",
    ],
    [
      "Kimi K2",
      sequence(
        split(
          "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+|\\s+",
        ),
        level,
      ),
      "general",
    ],
  ])("the pre-tokenizer of %s takes the documented code path", (_, preTokenizer, path) => {
    const plan = makePlan(readTokenizerFile(byteLevelJson([["a", "b"]], { pre_tokenizer: preTokenizer })));
    expect(pathOf(plan)).toBe(path);
  });

  it.each<[string, object]>([
    ["BERT", { type: "BertPreTokenizer" }],
    ["T5, ALBERT, XLNet, XLM-R", { type: "Metaspace", replacement: "\u2581", prepend_scheme: "always", split: true }],
  ])("the pre-tokenizer of %s takes the documented code path before a Unigram model", (_, preTokenizer) => {
    const json = {
      ...byteLevelJson([]),
      pre_tokenizer: preTokenizer,
      decoder: null,
      model: {
        type: "Unigram",
        vocab: [
          ["<unk>", 0],
          ["a", -1],
        ],
        unk_id: 0,
      },
    };
    expect(pathOf(makePlan(readTokenizerFile(json)))).toBe(
      "Metaspace" === (preTokenizer as { type: string }).type ? "fast" : "general",
    );
  });
});
