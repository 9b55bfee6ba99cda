// Parses tokenizer.json into a TokenizerFile.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary } from "../../binding/tokenizer.ts";
import { isObject } from "../../core/is-object.ts";
import { type JsonObject, type JsonValue, parseJson } from "../../io/json.ts";
import { finish } from "../../io/native-jobs.ts";
import { readModel } from "./model-file.ts";
import {
  type AddedToken,
  invalidFile,
  limits,
  readAddedTokens,
  type TokenizerFile,
  type TokenizerModel,
} from "./tokenizer-file.ts";

/**
 * Parses and checks a tokenizer.json.
 * @param compiled its vocabulary from a cache
 * @throws HeddleError INVALID_FILE, UNSUPPORTED for an unknown type of model
 */
export function parseTokenizerFile(source: string | Uint8Array, compiled?: NativeJsonVocabulary): TokenizerFile {
  const bytes = bytesOf(source);
  return readParsed(source, compiled ?? (bytes && binding.readJsonVocabulary(bytes)));
}

/** Like parseTokenizerFile, mostly off the event loop. Rejects with ABORTED if the signal fires. */
export async function parseTokenizerFileAsync(
  source: string | Uint8Array,
  compiled: NativeJsonVocabulary | undefined,
  signal: AbortSignal | undefined,
): Promise<TokenizerFile> {
  const bytes = compiled ? undefined : bytesOf(source);
  return readParsed(source, bytes ? await finish(binding.startJsonVocabulary(bytes), signal) : compiled);
}

/** Returns the UTF-8 bytes of a source; undefined for text with lone surrogates, which UTF-8 cannot represent. */
function bytesOf(source: string | Uint8Array): Uint8Array | undefined {
  if (typeof source !== "string") return source;
  return source.isWellFormed() ? Buffer.from(source) : undefined;
}

function readParsed(source: string | Uint8Array, native: NativeJsonVocabulary | undefined): TokenizerFile {
  // `rest` is the file without its vocabulary. If it is invalid, parse the whole file, so that the error is about the file itself.
  const json = native && jsonOf(native.rest);
  if (isObject(json) && isObject(json.model)) return readTokenizerFile(json, native);
  return readTokenizerFile(parseJson(source, WHERE, { values: limits.vocabularyValues }));
}

const WHERE = "tokenizer.json";

/** Parses JSON whose nesting and number of values native code has checked. Returns undefined if it is invalid. */
function jsonOf(checked: string): unknown {
  try {
    return JSON.parse(checked);
  } catch {
    return undefined;
  }
}

/**
 * Reads a parsed tokenizer.json. With `native`, which has the vocabulary and merges, those of `parsed` are ignored.
 * @param how.hasIds whether the added tokens' ids are final. Otherwise the vocabulary's ids take precedence
 */
export function readTokenizerFile(
  parsed: unknown,
  native?: NativeJsonVocabulary,
  { hasIds = false }: { hasIds?: boolean } = {},
): TokenizerFile {
  if (!isObject(parsed)) throw invalidFile(WHERE, "an object", parsed);
  const json = parsed as JsonObject;
  const model = readModel(json.model, native);
  const added = readAddedTokens(json.added_tokens ?? []);
  if (hasIds) return fileOf(json, added, model);
  if (native) {
    const ids = native.findAll(added.map(({ content }) => content));
    for (const [i, token] of added.entries()) token.id = ids[i] ?? token.id;
  } else settleIds(added, (json.model as JsonObject).vocab!, model);
  return fileOf(json, added, model);
}

function fileOf(json: JsonObject, added: AddedToken[], model: TokenizerModel): TokenizerFile {
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

/**
 * Replaces the ids of added tokens by the vocabulary's ids if it contains the tokens, as Hugging Face's library does.
 */
function settleIds(added: AddedToken[], vocab: JsonValue, { tokens }: TokenizerModel): void {
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
