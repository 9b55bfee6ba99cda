// Reads tiktoken's rank files (also Llama 3's tokenizer.model and Qwen's .tiktoken). Each line has a token's bytes in base64 and its
// rank.
import type { JsonObject } from "../../io/json.ts";
import { characterOfByte } from "../byte-alphabet.ts";
import { namedPatterns, type PatternName } from "../pipeline/patterns.ts";
import { invalidFile, limits, type TokenizerFile } from "./tokenizer-file.ts";
import { readTokenizerFile } from "./tokenizer-json.ts";

/** Information that a file of tiktoken ranks lacks. */
export interface TiktokenOptions {
  /** The pattern that splits text: a name, or a regular expression. */
  pattern: PatternName | (string & {});
  /** Ids of the special tokens, by their text. */
  specialTokens?: Record<string, number> | undefined;
}

const where = "tiktoken ranks";
/** Maximum total number of bytes of all splits of all tokens into two parts. It bounds the search for merges. */
const maxSplits = 1 << 25;

/** Settings of published rank files. The files lack them, and only the publishers' code contains them. */
const known: [RegExp, TiktokenOptions][] = [
  [
    /cl100k/u,
    {
      pattern: "llama3", // Llama 3 uses the pattern of cl100k
      specialTokens: {
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
      },
    },
  ],
  [/o200k/u, { pattern: "o200k", specialTokens: { "<|endoftext|>": 199999, "<|endofprompt|>": 200018 } }],
  [/r50k|p50k|gpt2/u, { pattern: "gpt2", specialTokens: { "<|endoftext|>": 50256 } }],
  [
    /qwen/iu,
    { pattern: "qwen2", specialTokens: { "<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645 } },
  ],
];

/** Settings of Llama 3's tokenizer.model, with the special tokens that all versions share. */
export const llama3Ranks: TiktokenOptions = {
  pattern: "llama3",
  specialTokens: {
    "<|begin_of_text|>": 128000,
    "<|end_of_text|>": 128001,
    "<|start_header_id|>": 128006,
    "<|end_header_id|>": 128007,
    "<|eot_id|>": 128009,
  },
};

/** Returns the settings of a published file by its name; undefined for other files. */
export function tiktokenByName(name: string): TiktokenOptions | undefined {
  return known.find(([pattern]) => pattern.test(name))?.[1];
}

/** Reads a rank file. @throws HeddleError INVALID_FILE */
export function readTiktoken(text: string, options: TiktokenOptions): TokenizerFile {
  const tokens: string[] = [];
  const ids: number[] = [];
  const ranks = new Map<string, number>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const match = /^([A-Za-z0-9+/]+={0,2}) (\d{1,7})\s*$/u.exec(line);
    const rank = Number(match?.[2] ?? Number.NaN);
    if (!match || !(rank < limits.tokens)) throw invalidFile(`${where}, line ${index + 1}`, "base64 and a rank", line);
    const name = Array.from(Buffer.from(match[1]!, "base64"), characterOfByte).join("");
    if (name.length > limits.tokenLength) throw invalidFile(where, `at most ${limits.tokenLength} bytes`, name.length);
    if (ranks.has(name)) throw invalidFile(`${where}, line ${index + 1}`, "each token once", line);
    ranks.set(name, rank);
    tokens.push(name);
    ids.push(rank);
  }
  if (tokens.length === 0) throw invalidFile(where, "at least one line of base64 and a rank", 0);

  // tiktoken merges two neighbors if their concatenation is a token, the token of the lowest rank first. So every split of a token into
  // two tokens is a merge, and its rank is the token's.
  const found: [rank: number, left: string, right: string][] = [];
  let splits = 0;
  for (const [token, rank] of ranks) {
    splits += token.length * token.length;
    if (splits > maxSplits) throw invalidFile(where, "shorter tokens", `${splits} bytes to split`);
    for (let i = 1; i < token.length; i++) {
      const [left, right] = [token.slice(0, i), token.slice(i)];
      if (ranks.has(left) && ranks.has(right)) found.push([rank, left, right]);
    }
  }
  found.sort((a, b) => a[0] - b[0] || ranks.get(a[1])! - ranks.get(b[1])! || ranks.get(a[2])! - ranks.get(b[2])!);

  const named = options.pattern;
  const pattern = Object.hasOwn(namedPatterns, named) ? namedPatterns[named as PatternName] : named;
  const byteLevel: JsonObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const split: JsonObject = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  const specials = Object.entries(options.specialTokens ?? {});
  const file = readTokenizerFile({
    added_tokens: specials.map(([content, id]) => ({ id, content, special: true, normalized: false })),
    pre_tokenizer: { type: "Sequence", pretokenizers: [split, byteLevel] },
    decoder: byteLevel,
    model: { type: "BPE", vocab: {}, merges: [], ignore_merges: true },
  });
  file.model.tokens = tokens;
  file.model.ids = Uint32Array.from(ids);
  file.model.merges = found.flatMap(([, left, right]) => [left, right]);
  file.model.mergeRanks = Uint32Array.from(found, ([rank]) => rank);
  return file;
}
