// Reads added tokens of vocabularies other than tokenizer.json. transformers stores them in separate files.
import { isObject } from "../../core/is-object.ts";
import type { JsonObject } from "../../io/json.ts";
import { parseNamed } from "./config.ts";
import { readAddedTokens, type TokenizerFile, type TokenizerModel } from "./tokenizer-file.ts";

/** The contents of the files that list added tokens. */
interface AddedTexts {
  tokenizerConfig?: string;
  specialTokensMap?: string;
  /** Text of added_tokens.json. */
  addedTokens?: string;
}

/** Returns the values of all keys that end in `_token` or `_tokens`: the texts of special tokens. */
function specialNames(json: JsonObject): unknown[] {
  const keys = Object.keys(json).filter((key) => /_tokens?$/.test(key));
  return keys.flatMap((key) => json[key]!).map((token) => (isObject(token) ? token.content : token));
}

/**
 * Returns the added tokens in the form of tokenizer.json. tokenizer_config.json has all their fields. The older added_tokens.json has only
 * texts and ids.
 */
function listed(texts: AddedTexts): JsonObject[] {
  const config = parseNamed(texts.tokenizerConfig, "tokenizer_config.json");
  const { added_tokens_decoder: known } = config;
  if (isObject(known) && Object.keys(known).length > 0)
    return Object.entries(known).map(([id, token]) => ({ ...(isObject(token) && token), id: Number(id) }));
  const specials = new Set(
    specialNames({ ...parseNamed(texts.specialTokensMap, "special_tokens_map.json"), ...config }),
  );
  return Object.entries(parseNamed(texts.addedTokens, "added_tokens.json")).map(([content, id]) => ({
    id,
    content,
    special: specials.has(content),
    normalized: false, // older tokenizers match them in the text before normalization
  }));
}

/** Returns the ids of tokens in the vocabulary, with undefined for those that it does not contain. */
function idsOf({ native, tokens, ids }: TokenizerModel, contents: readonly string[]): (number | undefined)[] {
  if (native) return native.findAll(contents);
  const places = new Map(tokens.map((token, at) => [token, ids[at]!]));
  return contents.map((content) => places.get(content));
}

/**
 * Adds the listed tokens that `file.added` lacks. The vocabulary's id of such a token takes precedence over the listed one.
 * @throws HeddleError INVALID_FILE
 */
export function withAdded(file: TokenizerFile, texts: AddedTexts): TokenizerFile {
  const found = listed(texts);
  if (found.length === 0) return file;
  const present = new Set(file.added.map(({ content }) => content));
  const others = readAddedTokens(found).filter(({ content }) => !present.has(content));
  const ids = idsOf(
    file.model,
    others.map(({ content }) => content),
  );
  for (const [i, token] of others.entries()) token.id = ids[i] ?? token.id;
  return { ...file, added: [...file.added, ...others].sort((a, b) => a.id - b.id) };
}
