// The parsed form of a tokenizer.json, and checks of its fields.
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { JsonObject, JsonValue } from "../../io/json.ts";

/** An added token, which is found in the text before the model runs, as in `added_tokens` of tokenizer.json. */
export interface AddedToken {
  /** The token's id. */
  id: number;
  /** The text that becomes the token. */
  content: string;
  /** Whether only whole words match. */
  singleWord: boolean;
  /** Whether the token takes white space to its left. */
  lstrip: boolean;
  /** Whether the token takes white space to its right. */
  rstrip: boolean;
  /** Whether the token is matched in normalized text. */
  normalized: boolean;
  /** Whether the token is special, such as an end token. */
  special: boolean;
}

/** The model, which turns pieces of text into tokens. `tokens[i]` has the id `ids[i]`. */
export interface TokenizerModel {
  type: "BPE" | "WordPiece" | "Unigram" | "WordLevel";
  tokens: string[];
  ids: Uint32Array;
  /** BPE: left and right parts alternately, in the order of their ranks. */
  merges: string[];
  /**
   * The vocabulary in native memory, if it was read there. The lists above and the scores are then created on first access. Not
   * enumerable.
   */
  native?: NativeJsonVocabulary;
  /**
   * Ranks of the merges if they differ from their order. In tiktoken's files, all merges that yield the same token have
   * the same rank.
   */
  mergeRanks?: Uint32Array;
  unknownToken: string | undefined;
  /** Id of the unknown token if the file has it. It takes precedence over `unknownToken`, because several tokens may have the same text. */
  unknownId?: number;
  byteFallback: boolean;
  fuseUnknown: boolean;
  ignoreMerges: boolean;
  /** BPE and WordPiece: prefix of tokens that do not begin a word, such as "##". */
  subwordPrefix?: string;
  /** BPE: suffix of a word's last token, such as "</w>". */
  wordSuffix?: string;
  /** WordPiece: maximum number of characters of a word. Longer words are unknown. */
  maxWordCharacters?: number;
  /** Unigram: scores, one per token. */
  scores?: Float64Array;
  /** Unigram: whether scores are summed in 32 bits, as in SentencePiece. A tokenizer.json implies 64 bits. */
  singlePrecision?: boolean;
  /** Unigram: ids that never match text, such as byte tokens, in addition to special tokens. */
  hidden?: Uint32Array;
}

/** A parsed tokenizer.json, or an equivalent of another format. */
export interface TokenizerFile {
  added: AddedToken[];
  normalizer: JsonObject | null;
  preTokenizer: JsonObject | null;
  postProcessor: JsonObject | null;
  decoder: JsonObject | null;
  model: TokenizerModel;
  /** Defaults of `encodeInputs`, which `save` writes too. Other methods ignore them. */
  truncation: JsonObject | null;
  padding: JsonObject | null;
}

/** SentencePiece's piece types, stored as `tokenizer.ggml.token_type` in GGUF. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Whether a type is that of special tokens, which `decode` may leave out. */
export const isSpecial = (type: number | undefined) => type === TokenType.control || type === TokenType.unknown;

/** Whether a type is that of added tokens, which are found before a text is split. */
export const isAdded = (type: number | undefined) => isSpecial(type) || type === TokenType.userDefined;

/** Returns the ids of tokens that are numbered by position. */
export function placeIds(tokens: readonly string[]): Uint32Array {
  return new Uint32Array(tokens.length).map((_, place) => place);
}

/** Limits on untrusted files. Error messages name the limit that was exceeded. */
export const limits = {
  /** Maximum size of a vocabulary file: four times the largest published one. */
  fileBytes: 128 << 20,
  /** Maximum number of JSON values without the vocabulary, keys included: enough for 65,536 added tokens with all their fields. */
  jsonValues: 1 << 20,
  /**
   * Maximum number of JSON values of a tokenizer.json whose vocabulary native code cannot read: twice that of the largest published file.
   */
  vocabularyValues: 1 << 21,
  tokens: 1 << 22,
  /** Maximum length of a token. For Unigram and WordPiece it is 1024 characters: see native/tokenizer/models/model_builder.h. */
  tokenLength: 1 << 16,
  addedTokens: 1 << 16,
  addedTokenLength: 1024,
  templateLength: 1 << 20,
  charsmapLength: 1 << 24,
  /** Maximum depth of nested Sequences. */
  nesting: 16,
  /** Maximum number of steps of a Sequence, nested ones included. */
  parts: 64,
} as const;

/** Returns the error for an invalid value in a tokenizer file. */
export function invalidFile(name: string, expected: string, got: unknown): HeddleError {
  // Show only an array's length, because it may be nested deeply.
  const shown = Array.isArray(got) ? `an array of ${got.length}` : describe(got);
  return new HeddleError("INVALID_FILE", `${name}: expected ${expected}, got ${shown}`);
}

/** Returns the error for a feature of a tokenizer file that heddle lacks. */
export function unsupported(name: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${name}: ${what} is not supported`);
}

/** Returns a required string field. @param where the object's name in messages @throws HeddleError INVALID_FILE */
export function stringField(object: JsonObject, name: string, where: string): string {
  const value = object[name];
  if (typeof value !== "string") throw invalidFile(`${where}.${name}`, "a string", value);
  return value;
}

/** Returns a boolean field, or `fallback` if it is missing. @throws HeddleError INVALID_FILE */
export function booleanField(object: JsonObject, name: string, fallback: boolean, where: string): boolean {
  const value = object[name] ?? fallback;
  if (typeof value !== "boolean") throw invalidFile(`${where}.${name}`, "true or false", value);
  return value;
}

/** Whether a value may be a token id in a tokenizer file. */
export function isFileTokenId(value: unknown): value is number {
  return isWhole(value, 0, limits.tokens - 1);
}

/** The range of token ids, worded for messages. */
export const idRange = `a whole number from 0 to ${limits.tokens - 1}`;

/** Reads the `added_tokens` of a tokenizer.json. */
export function readAddedTokens(value: JsonValue): AddedToken[] {
  if (!Array.isArray(value)) throw invalidFile("added_tokens", "an array", value);
  if (value.length > limits.addedTokens) {
    throw invalidFile("added_tokens", `at most ${limits.addedTokens}`, value.length);
  }
  return value.map((token, index) => {
    const where = `added_tokens[${index}]`;
    if (!isObject(token)) throw invalidFile(where, "an object", token);
    const content = stringField(token, "content", where);
    if (content.length === 0 || content.length > limits.addedTokenLength) {
      throw invalidFile(`${where}.content`, `1 to ${limits.addedTokenLength} characters`, content.length);
    }
    // Lone surrogates in texts become U+FFFD, so tokens that differ only in them could not be distinguished.
    if (!content.isWellFormed()) throw invalidFile(`${where}.content`, "well-formed Unicode", content);
    if (!isFileTokenId(token.id)) throw invalidFile(`${where}.id`, idRange, token.id);
    const special = booleanField(token, "special", false, where);
    return {
      id: token.id,
      content,
      singleWord: booleanField(token, "single_word", false, where),
      lstrip: booleanField(token, "lstrip", false, where),
      rstrip: booleanField(token, "rstrip", false, where),
      normalized: booleanField(token, "normalized", !special, where),
      special,
    };
  });
}

/** Returns the steps of a Sequence in order, with nested sequences flattened. Any other component is a single step. */
export function flatten(value: JsonObject | null, list: string, where: string, depth = 0): JsonObject[] {
  if (value === null) return [];
  if (value.type !== "Sequence") return [value];
  const parts = value[list];
  if (!Array.isArray(parts)) throw invalidFile(`${where}.${list}`, "an array", parts);
  if (parts.length > limits.parts) throw invalidFile(`${where}.${list}`, `at most ${limits.parts} parts`, parts.length);
  if (depth >= limits.nesting) throw invalidFile(where, `at most ${limits.nesting} nested sequences`, depth + 1);
  const flat = parts.flatMap((part, index) => {
    if (!isObject(part)) throw invalidFile(`${where}.${list}[${index}]`, "an object", part);
    return flatten(part, list, where, depth + 1);
  });
  if (flat.length > limits.parts) throw invalidFile(where, `at most ${limits.parts} parts`, flat.length);
  return flat;
}
