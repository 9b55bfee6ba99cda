// The pre-tokenizers that `tokenizer.ggml.pre` names, as in llama.cpp (llama-vocab.cpp).
import type { JsonObject } from "../../io/json.ts";
import { deepseekPatterns, namedPatterns } from "../pipeline/patterns.ts";

/** A pre-tokenizer that GGUF names. */
interface GgufPreTokenizer {
  /** Split patterns. Each splits the pieces of the previous one. */
  patterns: readonly string[];
  addsBos?: boolean;
  ignoreMerges?: boolean;
  /** Whether the model's own tokenizer normalizes to NFC. llama.cpp does not. */
  nfc?: boolean;
}

const { gpt2, llama3, qwen2, o200k } = namedPatterns;
/** Mistral's pattern: like o200k's, but without contractions, and with single digits. */
const tekken = o200k.replaceAll("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("\\p{N}{1,3}", "\\p{N}");
const eachDigit = "\\p{N}";
/** Seed's pattern, as spelled in llama.cpp. It is like Qwen 2's, but runs of symbols do not include line breaks. */
const seed = qwen2
  .replace("|\\p{N}|", "|\\p{N}{1}|")
  .replace(" ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*", " ?[^\\s\\p{L}\\p{N}\\r\\n]+");

const table: readonly [names: string, pre: GgufPreTokenizer][] = [
  ["llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral", { patterns: [llama3], addsBos: true, ignoreMerges: true }],
  ["dbrx smaug-bpe chatglm-bpe glm4", { patterns: [llama3] }],
  ["qwen2 deepseek-r1-qwen megrez", { patterns: [qwen2], nfc: true }],
  ["stablelm2 hunyuan solar-open", { patterns: [qwen2] }],
  ["seed-coder", { patterns: [seed] }],
  ["gpt-2 gpt2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de roberta-bpe exaone4", { patterns: [gpt2] }],
  // GPT-NeoX's tokenizer and derived ones.
  ["olmo modern-bert mpt", { patterns: [gpt2], nfc: true }],
  ["smollm starcoder refact codeshell", { patterns: [eachDigit, gpt2] }],
  ["command-r", { patterns: [eachDigit, gpt2], nfc: true }],
  ["gpt-4o llama4", { patterns: [o200k] }],
  ["tekken", { patterns: [tekken], addsBos: true, ignoreMerges: true }],
  ["deepseek-v3 hunyuan-dense", { patterns: ["\\p{N}{1,3}", deepseekPatterns.cjk, deepseekPatterns.rest] }],
  // llama.cpp's fallback for files whose converter did not know the tokenizer.
  ["default", { patterns: ["[\\p{P}$+<=>\\^~|]+", gpt2, "\\p{N}+", "[0-9][0-9][0-9]"] }],
];

const byName = new Map(table.flatMap(([names, pre]) => names.split(" ").map((name) => [name, pre] as const)));

/** The names that exported files use: the first of each row. */
export const knownPreTokenizers: readonly string[] = table.map(([names]) => names.split(" ")[0]!);

/**
 * Returns the name of a pre-tokenizer with these patterns, or undefined. It prefers an entry with the same
 * `ignoreMerges`. With an entry that ignores merges, such as Llama 3's, llama.cpp may use tokens that merges do not
 * produce.
 */
export function preOf(patterns: readonly string[], ignoresMerges: boolean): string | undefined {
  const all = table.filter(([, pre]) => pre.patterns.join("\n") === patterns.join("\n"));
  const found = all.find(([, pre]) => (pre.ignoreMerges ?? false) === ignoresMerges) ?? all[0];
  return found?.[0].split(" ")[0];
}

/** Returns the entry of a name, or the entry "default" without a name; undefined for an unknown name. */
export function preTokenizerOf(name: string | undefined): GgufPreTokenizer | undefined {
  return byName.get(name ?? "default");
}

/** Returns the pre-tokenizer in the form of tokenizer.json. */
export function byteLevelPreTokenizer({ patterns }: GgufPreTokenizer): JsonObject {
  const level: JsonObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  if (patterns.length === 1 && patterns[0] === gpt2) return { ...level, use_regex: true };
  const splits = patterns.map((pattern): JsonObject => {
    if (pattern === eachDigit) return { type: "Digits", individual_digits: true };
    return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  });
  return { type: "Sequence", pretokenizers: [...splits, level] };
}
