// Added tokens of vocabularies other than tokenizer.json, which transformers stores in separate files.
import { isObject } from "../../core/is-object.ts";
import { parseNamed } from "./config.ts";
import { type JsonObject, readAddedTokens, type TokenizerFile, type TokenizerModel } from "./tokenizer-file.ts";

export interface AddedTexts {
  tokenizerConfig?: string;
  specialTokensMap?: string;
  /** added_tokens.json */
  addedTokens?: string;
}

/** All names of special tokens in a file, whichever key they stand under. */
function specialNames(json: JsonObject): unknown[] {
  const keys = Object.keys(json).filter((key) => /_tokens?$/.test(key));
  return keys.flatMap((key) => json[key]!).map((token) => (isObject(token) ? token.content : token));
}

/** As tokenizer_config.json has them, with all that they are; those of added_tokens.json, which is older, have but their ids. */
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
    normalized: false, // the tokenizers of that time look for them in the text as it is
  }));
}

/** The id of a token's text. */
function placesOf(model: TokenizerModel): (content: string) => number | undefined {
  const { native } = model;
  if (native) return (content) => native.find(content);
  const places = new Map(model.tokens.map((token, at) => [token, model.ids[at]!]));
  return (content) => places.get(content);
}

/** The file with those added tokens that its vocabulary does not bring itself. @throws HeddleError INVALID_FILE */
export function withAdded(file: TokenizerFile, texts: AddedTexts): TokenizerFile {
  const found = listed(texts);
  if (found.length === 0) return file;
  const own = new Set(file.added.map(({ content }) => content));
  const places = placesOf(file.model);
  const others = readAddedTokens(found).filter(({ content }) => !own.has(content));
  for (const token of others) token.id = places(token.content) ?? token.id;
  return { ...file, added: [...file.added, ...others].sort((a, b) => a.id - b.id) };
}
