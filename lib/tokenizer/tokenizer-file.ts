// tokenizer.json: what heddle reads of it, checked before anything uses it.
import { describe, HeddleError } from "../errors.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface AddedToken {
  id: number;
  content: string;
  singleWord: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A BPE model. `tokens[i]` has the id `ids[i]`; `merges` holds left and right parts in turn, best first. */
export interface BpeModel {
  tokens: string[];
  ids: Uint32Array;
  merges: string[];
  /** Ranks of the merges where they are not their order: GGUF scores may tie. */
  mergeRanks?: Uint32Array;
  unknownToken: string | undefined;
  byteFallback: boolean;
  fuseUnknown: boolean;
  ignoreMerges: boolean;
}

export interface TokenizerFile {
  added: AddedToken[];
  normalizer: JsonObject | null;
  preTokenizer: JsonObject | null;
  postProcessor: JsonObject | null;
  decoder: JsonObject | null;
  model: BpeModel;
}

/** Limits on files from strangers; every message names the one it hit. */
export const limits = {
  fileBytes: 256 << 20,
  tokens: 1 << 22,
  tokenLength: 1 << 16,
  addedTokens: 1 << 16,
  addedTokenLength: 1024,
  templateLength: 1 << 20,
  nesting: 16,
  parts: 64,
} as const;

export function invalidFile(name: string, expected: string, got: unknown): HeddleError {
  // An array by its length alone: it may be nested without end.
  const shown = Array.isArray(got) ? `an array of ${got.length}` : describe(got);
  return new HeddleError("INVALID_FILE", `${name}: expected ${expected}, got ${shown}`);
}

export function unsupported(name: string, what: string): HeddleError {
  return new HeddleError("UNSUPPORTED", `${name}: ${what} is not supported`);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses and checks the text of a tokenizer.json. Throws INVALID_FILE or, for models other than BPE, UNSUPPORTED. */
export function parseTokenizerFile(text: string): TokenizerFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new HeddleError("INVALID_FILE", `tokenizer.json: ${(cause as Error).message}`, { cause });
  }
  return readTokenizerFile(json);
}

/** The same from the parsed object. */
export function readTokenizerFile(json: unknown): TokenizerFile {
  if (!isObject(json)) throw invalidFile("tokenizer.json", "an object", json);
  return {
    added: readAddedTokens(json.added_tokens ?? []),
    normalizer: component(json, "normalizer"),
    preTokenizer: component(json, "pre_tokenizer"),
    postProcessor: component(json, "post_processor"),
    decoder: component(json, "decoder"),
    model: readModel(json.model),
  };
}

function component(json: JsonObject, name: string): JsonObject | null {
  const value = json[name] ?? null;
  if (value !== null && !isObject(value)) throw invalidFile(name, "an object or null", value);
  return value;
}

export function stringField(object: JsonObject, name: string, where: string): string {
  const value = object[name];
  if (typeof value !== "string") throw invalidFile(`${where}.${name}`, "a string", value);
  return value;
}

export function booleanField(object: JsonObject, name: string, fallback: boolean, where: string): boolean {
  const value = object[name] ?? fallback;
  if (typeof value !== "boolean") throw invalidFile(`${where}.${name}`, "true or false", value);
  return value;
}

export function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limits.tokens;
}

const idRange = `a whole number from 0 to ${limits.tokens - 1}`;

function readAddedTokens(value: Json): AddedToken[] {
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
    if (!isTokenId(token.id)) throw invalidFile(`${where}.id`, idRange, token.id);
    const special = booleanField(token, "special", false, where);
    return {
      id: token.id,
      content: content.toWellFormed(),
      singleWord: booleanField(token, "single_word", false, where),
      lstrip: booleanField(token, "lstrip", false, where),
      rstrip: booleanField(token, "rstrip", false, where),
      normalized: booleanField(token, "normalized", !special, where),
      special,
    };
  });
}

function readModel(model: Json | undefined): BpeModel {
  if (!isObject(model)) throw invalidFile("model", "an object", model);
  const type = model.type ?? "BPE";
  if (typeof type !== "string") throw invalidFile("model.type", "a string", type);
  if (type !== "BPE") throw unsupported("model.type", `${describe(type)} (only "BPE" is)`);
  for (const name of ["continuing_subword_prefix", "end_of_word_suffix"] as const) {
    if (model[name]) throw unsupported(`model.${name}`, "other than null");
  }
  if (!isObject(model.vocab)) throw invalidFile("model.vocab", "an object", model.vocab);
  const tokens = Object.keys(model.vocab);
  if (tokens.length > limits.tokens) throw invalidFile("model.vocab", `at most ${limits.tokens} tokens`, tokens.length);
  const ids = new Uint32Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const id = model.vocab[token];
    if (!isTokenId(id)) throw invalidFile(`model.vocab[${describe(token)}]`, idRange, id);
    if (token.length > limits.tokenLength) {
      throw invalidFile("model.vocab", `tokens of at most ${limits.tokenLength} characters`, token.length);
    }
    ids[i] = id;
  }
  const unknown = model.unk_token ?? null;
  if (unknown !== null && typeof unknown !== "string")
    throw invalidFile("model.unk_token", "a string or null", unknown);
  return {
    tokens,
    ids,
    merges: readMerges(model.merges),
    unknownToken: unknown ?? undefined,
    byteFallback: booleanField(model, "byte_fallback", false, "model"),
    fuseUnknown: booleanField(model, "fuse_unk", false, "model"),
    ignoreMerges: booleanField(model, "ignore_merges", false, "model"),
  };
}

/** Merges come as "left right" or as [left, right]. */
function readMerges(value: Json | undefined): string[] {
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
    if (typeof left !== "string" || typeof right !== "string" || (merge as Json[]).length !== 2) {
      throw invalidFile(`model.merges[${i}]`, "two strings", merge);
    }
    merges[2 * i] = left;
    merges[2 * i + 1] = right;
  }
  return merges;
}

/** The parts of a Sequence in order, sequences inside included; any other component is its own only part. */
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
