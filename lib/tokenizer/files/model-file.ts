// Reads the `model` of a tokenizer.json: BPE, WordPiece, Unigram or WordLevel.
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { describe } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { JsonObject, JsonValue } from "../../io/json.ts";
import {
  booleanField,
  idRange,
  invalidFile,
  isFileTokenId,
  limits,
  placeIds,
  type TokenizerModel,
  unsupported,
} from "./tokenizer-file.ts";

/** Reads the `model` of a tokenizer.json. @throws HeddleError INVALID_FILE, UNSUPPORTED */
export function readModel(model: JsonValue | undefined, native?: NativeJsonVocabulary): TokenizerModel {
  if (!isObject(model)) throw invalidFile("model", "an object", model);
  const type = model.type ?? guessType(model);
  switch (type) {
    case "BPE":
      return readBpe(model, native);
    case "WordPiece":
      return askedFor(native, {
        type,
        ...readVocab(model, native),
        ...plain,
        unknownToken: text(model, "unk_token", "[UNK]"),
        subwordPrefix: text(model, "continuing_subword_prefix", "##"),
        maxWordCharacters: readCount(model, "max_input_chars_per_word", 100),
      });
    case "WordLevel":
      return askedFor(native, {
        type,
        ...readVocab(model, native),
        ...plain,
        unknownToken: text(model, "unk_token", "<unk>"),
      });
    case "Unigram":
      return askedFor(native, readUnigram(model, native));
    default:
      if (typeof type !== "string") throw invalidFile("model.type", "a string", type);
      throw unsupported("model.type", describe(type));
  }
}

/** Values of the BPE fields for models of other types. */
const plain = { merges: [], byteFallback: false, fuseUnknown: false, ignoreMerges: false };

/** Guesses the type of a model from its fields, because old files do not name it. */
function guessType(model: JsonObject): string {
  if (Array.isArray(model.vocab)) return "Unigram";
  if (model.merges !== undefined) return "BPE";
  return model.continuing_subword_prefix === undefined ? "WordLevel" : "WordPiece";
}

function text(model: JsonObject, name: string, fallback: string): string {
  const value = model[name] ?? fallback;
  if (typeof value !== "string" || value.length > limits.addedTokenLength) {
    throw invalidFile(`model.${name}`, `a string of at most ${limits.addedTokenLength} characters`, value);
  }
  return value.toWellFormed();
}

function readCount(model: JsonObject, name: string, fallback: number): number {
  const value = model[name] ?? fallback;
  if (!isWhole(value, 0, 0xffffffff)) {
    throw invalidFile(`model.${name}`, "a whole number", value);
  }
  return value;
}

/** Reads the tokens and ids. The lists are empty if native code has read the vocabulary. */
function readVocab(
  model: JsonObject,
  native: NativeJsonVocabulary | undefined,
): Pick<TokenizerModel, "tokens" | "ids"> {
  if (!isObject(model.vocab)) throw invalidFile("model.vocab", "an object", model.vocab);
  if (native) return { tokens: [], ids: new Uint32Array() };
  const tokens = Object.keys(model.vocab);
  if (tokens.length > limits.tokens) throw invalidFile("model.vocab", `at most ${limits.tokens} tokens`, tokens.length);
  const ids = new Uint32Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const id = model.vocab[token];
    if (!isFileTokenId(id)) throw invalidFile(`model.vocab[${describe(token)}]`, idRange, id);
    checkLength(token);
    ids[i] = id;
  }
  return { tokens, ids };
}

function checkLength(token: string): void {
  if (token.length > limits.tokenLength) {
    throw invalidFile("model.vocab", `tokens of at most ${limits.tokenLength} characters`, token.length);
  }
}

function readBpe(model: JsonObject, native?: NativeJsonVocabulary): TokenizerModel {
  const unknown = model.unk_token ?? null;
  if (unknown !== null && typeof unknown !== "string") {
    throw invalidFile("model.unk_token", "a string or null", unknown);
  }
  const read: TokenizerModel = {
    type: "BPE",
    ...readVocab(model, native),
    merges: readMerges(model.merges),
    unknownToken: unknown ?? undefined,
    byteFallback: booleanField(model, "byte_fallback", false, "model"),
    fuseUnknown: booleanField(model, "fuse_unk", false, "model"),
    ignoreMerges: booleanField(model, "ignore_merges", false, "model"),
    subwordPrefix: text(model, "continuing_subword_prefix", "") || undefined,
    wordSuffix: text(model, "end_of_word_suffix", "") || undefined,
  };
  return askedFor(native, read);
}

/** Placeholder for a vocabulary that native code has read. */
export const unread: Pick<TokenizerModel, "tokens" | "ids" | "merges"> = {
  tokens: [],
  ids: new Uint32Array(),
  merges: [],
};

/**
 * Defines the model's lists as getters that read native code's vocabulary on first access. Most programs never need a
 * hundred thousand tokens and merges as strings.
 */
export function askedFor(native: NativeJsonVocabulary | undefined, model: TokenizerModel): TokenizerModel {
  if (!native) return model;
  const lists = ["tokens", "ids", "merges", ...(model.type === "Unigram" ? (["scores"] as const) : [])] as const;
  for (const name of lists) {
    let made: string[] | Uint32Array | Float64Array | undefined;
    const get = () => {
      made ??= native[name]();
      return made;
    };
    Object.defineProperty(model, name, { get, enumerable: true });
  }
  return Object.defineProperty(model, "native", { value: native });
}

/** Reads merges, which are stored as "left right" or as [left, right]. Returns left and right parts alternately. */
function readMerges(value: JsonValue | undefined): string[] {
  if (!Array.isArray(value)) throw invalidFile("model.merges", "an array", value);
  const merges: string[] = new Array(2 * value.length);
  for (let i = 0; i < value.length; i++) {
    const merge = value[i]!;
    if (typeof merge === "string") {
      const space = merge.indexOf(" ");
      if (space < 1 || space + 1 >= merge.length || merge.includes(" ", space + 1)) {
        throw invalidFile(`model.merges[${i}]`, "two parts with one space between them", merge);
      }
      merges[2 * i] = merge.slice(0, space);
      merges[2 * i + 1] = merge.slice(space + 1);
      continue;
    }
    const [left, right] = Array.isArray(merge) ? merge : [];
    if (typeof left !== "string" || typeof right !== "string" || (merge as JsonValue[]).length !== 2) {
      throw invalidFile(`model.merges[${i}]`, "two strings", merge);
    }
    merges[2 * i] = left;
    merges[2 * i + 1] = right;
  }
  return merges;
}

/** Reads a Unigram model, whose vocabulary consists of pairs of a token and its score, in the order of ids. */
function readUnigram(model: JsonObject, native: NativeJsonVocabulary | undefined): TokenizerModel {
  const { vocab } = model;
  if (!Array.isArray(vocab)) throw invalidFile("model.vocab", "an array of [token, score]", vocab);
  const { tokens, scores } = readPieces(vocab); // empty if native code has read them
  const count = native?.size ?? tokens.length;
  const unknown = model.unk_id ?? null;
  if (unknown !== null && !(isFileTokenId(unknown) && unknown < count)) {
    throw invalidFile("model.unk_id", `null or an id below ${count}`, unknown);
  }
  return {
    ...plain,
    type: "Unigram",
    tokens,
    ids: placeIds(tokens),
    scores,
    unknownToken: unknown === null ? undefined : native ? native.token(unknown) : tokens[unknown],
    unknownId: unknown ?? undefined,
    byteFallback: booleanField(model, "byte_fallback", false, "model"),
  };
}

function readPieces(vocab: JsonValue[]): { tokens: string[]; scores: Float64Array } {
  if (vocab.length > limits.tokens) throw invalidFile("model.vocab", `at most ${limits.tokens} tokens`, vocab.length);
  const tokens: string[] = new Array(vocab.length);
  const scores = new Float64Array(vocab.length);
  for (let index = 0; index < vocab.length; index++) {
    const entry = vocab[index];
    const [token, score] = Array.isArray(entry) ? entry : [];
    if (typeof token !== "string" || typeof score !== "number" || !Number.isFinite(score)) {
      throw invalidFile(`model.vocab[${index}]`, "a token and its score", entry);
    }
    checkLength(token);
    tokens[index] = token;
    scores[index] = score;
  }
  return { tokens, scores };
}
