// The word patterns of byte-level tokenizers: tokenizer.json's regular expression ↔ GGUF's `tokenizer.ggml.pre`.

const LETTERS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const REST = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The split that ByteLevel makes by itself (GPT-2). */
export const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
export const LLAMA3_PATTERN = `${LETTERS}|\\p{N}{1,3}|${REST}`;
export const QWEN2_PATTERN = `${LETTERS}|\\p{N}|${REST}`;

const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const START = "[^\\r\\n\\p{L}\\p{N}]?";
export const O200K_PATTERN = `${START}${UPPER}*${LOWER}+${ENDING}|${START}${UPPER}+${LOWER}*${ENDING}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** GGUF's first name is the one written; the others are read as the same. */
const NAMES: readonly (readonly [pattern: string, ...names: string[]])[] = [
  [GPT2_PATTERN, "gpt-2", "gpt2"],
  [LLAMA3_PATTERN, "llama-bpe", "llama3", "llama-v3"],
  [QWEN2_PATTERN, "qwen2"],
  [O200K_PATTERN, "gpt-4o"],
];

export function patternOfPre(name: string): string | undefined {
  return NAMES.find(([, ...names]) => names.includes(name))?.[0];
}

export function preOfPattern(pattern: string): string | undefined {
  return NAMES.find(([known]) => known === pattern)?.[1];
}

export const KNOWN_PRE_TOKENIZERS: readonly string[] = NAMES.map(([, name]) => name!);
