// The split patterns with native implementations, recognized by their text.

/** The kinds of splits, as in native/tokenizer/split/splitter.h. */
export const SplitKind = {
  gpt2: 0,
  cl100k: 1,
  o200k: 2,
  digits: 3,
  spaceRuns: 4,
  eachSpace: 5,
  cjkRuns: 6,
  deepseek: 7,
  bloom: 8,
} as const;

/** A native split. `maxDigits` 0 means no limit. Only o200k uses `contractions`. */
export interface SplitStage {
  kind: (typeof SplitKind)[keyof typeof SplitKind];
  maxDigits: number;
  contractions: boolean;
  /** Whether the pattern leaves text between its matches. */
  leavesGaps?: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";

/** Patterns by their names for `Tokenizer.train({ pattern })`. They are written to tokenizer.json unchanged. */
export const namedPatterns = {
  gpt2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  llama3: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  qwen2: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  o200k: `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${contractions}?|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
} as const;

/** The name of a pattern in `namedPatterns`. */
export type PatternName = keyof typeof namedPatterns;

/** The patterns that follow DeepSeek 3's pattern for digits. Each splits the pieces of the previous one. */
export const deepseekPatterns = {
  cjk: "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+",
  rest: "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
} as const;

/** BLOOM's pattern. The class in brackets excludes "(", ")", white space, "|" and the punctuation in the nested brackets. */
export const bloomPattern = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+";

/** Rewrites equivalent spellings of a pattern to one spelling. */
function canonical(pattern: string): string {
  return (
    pattern
      .replaceAll("'(?i:[sdmt]|ll|ve|re)", contractions)
      .replaceAll("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", contractions)
      .replaceAll("'(?:[sdmt]|ll|ve|re)", "'s|'t|'re|'ve|'m|'ll|'d")
      // Drop possessive quantifiers: backtracking into these parts could not produce a match.
      .replaceAll("?+\\p{L}+", "?\\p{L}+")
      .replaceAll("++[\\r\\n]*", "+[\\r\\n]*")
      .replaceAll("\\p{N}{1,3}+", "\\p{N}{1,3}")
      .replaceAll("]++|", "]+|")
      .replaceAll("\\s++$", "\\s+")
      // \s* already matches all line breaks but the last.
      .replaceAll("|\\s*[\\r\\n]|", "|\\s*[\\r\\n]+|")
  );
}

/** The part of a pattern that matches digits, with the maximum number of digits (1 without a quantifier, no limit for `+`). */
const digitsPart = /\|\\p\{N\}(?:\{1,(\d)\}|(\+))?\| \?/;

/**
 * Returns the native equivalent of a split pattern (in Oniguruma syntax, as in tokenizer.json), or undefined for an unknown pattern. It
 * reads the maximum number of digits from the pattern.
 */
export function recognizePattern(pattern: string): SplitStage | undefined {
  const text = canonical(pattern);
  const alone = /^\\p\{N\}(?:\{1,([1-9])\}|(\+))?$/u.exec(text);
  if (alone) {
    const maxDigits = alone[2] ? 0 : Number(alone[1] ?? 1);
    return { kind: SplitKind.digits, maxDigits, contractions: true, leavesGaps: true };
  }
  const spelled = text
    .replaceAll("\r\n", "\\r\\n")
    .replaceAll(/[\u3040-\u9fa5]/gu, (c) => `\\u${c.charCodeAt(0).toString(16)}`);
  for (const [known, kind] of [
    [deepseekPatterns.cjk, SplitKind.cjkRuns],
    [deepseekPatterns.rest, SplitKind.deepseek],
  ] as const) {
    if (spelled === known) return { kind, maxDigits: 0, contractions: true, leavesGaps: true };
  }
  if (text === bloomPattern) return { kind: SplitKind.bloom, maxDigits: 0, contractions: true, leavesGaps: true };
  if (text === namedPatterns.gpt2) return { kind: SplitKind.gpt2, maxDigits: 0, contractions: true };
  const digits = digitsPart.exec(text);
  if (!digits) return undefined;
  const maxDigits = digits[2] ? 0 : Number(digits[1] ?? 1);
  if (digits[1] === "0") return undefined;
  const generic = text.replace(digitsPart, "|\\p{N}{1,3}| ?");
  if (generic === namedPatterns.llama3) return { kind: SplitKind.cl100k, maxDigits, contractions: true };
  if (generic === namedPatterns.o200k) return { kind: SplitKind.o200k, maxDigits, contractions: true };
  if (generic === namedPatterns.o200k.replaceAll(`${contractions}?`, "")) {
    return { kind: SplitKind.o200k, maxDigits, contractions: false };
  }
  return undefined;
}

/**
 * Returns the native equivalent of a Split of tokenizer.json, or undefined.
 * @param behavior what happens to the matches @param invert whether it happens to the text between matches instead
 */
export function recognizeSplit(pattern: string, behavior: unknown, invert: boolean): SplitStage | undefined {
  const stage = recognizePattern(pattern);
  if (!stage || behavior === "Isolated") return stage;
  // If the matches cover the whole text, inverted "Removed" removes nothing, like "Isolated".
  return behavior === "Removed" && invert && !stage.leavesGaps ? stage : undefined;
}
