// tokenizer.json → TokenizerFile.
import { binding } from "../binding/index.ts";
import type { NativeJsonVocabulary } from "../binding/tokenizer.ts";
import { parseJson } from "../formats/json.ts";
import { readModel } from "./model-file.ts";
import {
  type AddedToken,
  invalidFile,
  isObject,
  type Json,
  type JsonObject,
  limits,
  readAddedTokens,
  type TokenizerFile,
  type TokenizerModel,
} from "./tokenizer-file.ts";

/**
 * Parses and checks a tokenizer.json. Throws INVALID_FILE or, for models of another type, UNSUPPORTED.
 * @param compiled what a cache says of it
 */
export function parseTokenizerFile(source: string | Uint8Array, compiled?: NativeJsonVocabulary): TokenizerFile {
  const bytes = typeof source !== "string" ? source : source.isWellFormed() ? Buffer.from(source) : undefined;
  const read = compiled ?? (bytes && binding.readJsonVocabulary(bytes));
  // Whatever is wrong with the rest is said of the whole file below.
  const json = read && tryJson(read.rest);
  if (isObject(json) && isObject(json.model) && (json.model.type ?? "BPE") === "BPE") {
    return readTokenizerFile(json, read);
  }
  return readTokenizerFile(parseJson(source, WHERE, { values: limits.vocabularyValues }));
}

const WHERE = "tokenizer.json";

function tryJson(text: string): unknown {
  try {
    return parseJson(text, WHERE, { values: limits.jsonValues });
  } catch {
    return undefined;
  }
}

/** The same from the parsed object, of which `native` may hold the vocabulary and the merges. */
export function readTokenizerFile(json: unknown, native?: NativeJsonVocabulary): TokenizerFile {
  if (!isObject(json)) throw invalidFile("tokenizer.json", "an object", json);
  const model = readModel(json.model, native);
  const added = readAddedTokens(json.added_tokens ?? []);
  if (native) for (const token of added) token.id = native.find(token.content) ?? token.id;
  else settleIds(added, (json.model as JsonObject).vocab!, model);
  return {
    added,
    normalizer: component(json, "normalizer"),
    preTokenizer: component(json, "pre_tokenizer"),
    postProcessor: component(json, "post_processor"),
    decoder: component(json, "decoder"),
    model,
    truncation: component(json, "truncation"),
    padding: component(json, "padding"),
  };
}

/** As in the official library, the id of a token that the vocabulary has is the vocabulary's. */
function settleIds(added: AddedToken[], vocab: Json, { tokens }: TokenizerModel): void {
  if (isObject(vocab)) {
    for (const token of added) if (Object.hasOwn(vocab, token.content)) token.id = vocab[token.content] as number;
  } else if (added.some((token) => tokens[token.id] !== token.content)) {
    const ids = new Map(tokens.map((token, id) => [token, id]));
    for (const token of added) token.id = ids.get(token.content) ?? token.id;
  }
}

function component(json: JsonObject, name: string): JsonObject | null {
  const value = json[name] ?? null;
  if (value !== null && !isObject(value)) throw invalidFile(name, "an object or null", value);
  return value;
}
