// Makes post-processors that add special tokens before and after every text.
import { isObject } from "../../core/is-object.ts";
import type { JsonObject } from "../../io/json.ts";
import { parseConfig, type TokenizerConfig } from "../files/config.ts";
import { type AddedToken, flatten, isFileTokenId, type TokenizerFile } from "../files/tokenizer-file.ts";
import { readPostProcessor } from "./post-processors.ts";

interface Special {
  name: string;
  id: number;
}

/**
 * Returns a template that adds tokens before and after a text, and around each text of a pair.
 * @param pair between: the tokens before a pair's second text; type: the token type of the second text
 */
export function templateAround(
  before: readonly Special[],
  after: readonly Special[],
  { between = before, type = 1 }: { between?: readonly Special[]; type?: number } = {},
): JsonObject {
  const parts = (specials: readonly Special[], type_id: number) =>
    specials.map(({ name }) => ({ SpecialToken: { id: name, type_id } }));
  const special_tokens: JsonObject = Object.fromEntries(
    [...before, ...after].map(({ name, id }) => [name, { id: name, ids: [id], tokens: [name] }]),
  );
  const single = [...parts(before, 0), { Sequence: { id: "A", type_id: 0 } }, ...parts(after, 0)];
  const pair = [...single, ...parts(between, type), { Sequence: { id: "B", type_id: type } }, ...parts(after, type)];
  return { type: "TemplateProcessing", single, pair, special_tokens };
}

/**
 * Classes of transformers 4 that rebuild the post-processor from `add_eos_token` (`update_post_processor`). Other classes use the
 * post-processor of tokenizer.json.
 */
const ADDS_EOS = /^(Llama|CodeLlama|Gemma|Cohere|GPTNeoX)Tokenizer(Fast)?$/;

/**
 * Returns a post-processor that appends EOS, if tokenizer_config.json has `add_eos_token: true` and its tokenizer class respects this field.
 * Custom code is assumed to respect it. Embedding models that pool the last token were trained with this EOS. Returns undefined to keep the
 * file's post-processor.
 */
function endedByEos(
  { added, postProcessor }: { added: readonly Pick<AddedToken, "id" | "content">[]; postProcessor: JsonObject | null },
  { addEosToken, eosToken, tokenizerClass = "", customCode }: TokenizerConfig,
): JsonObject | undefined {
  if (!addEosToken || eosToken === undefined || !(customCode || ADDS_EOS.test(tokenizerClass))) return undefined;
  const specials = added.map(({ content: name, id }) => ({ name, id }));
  const eos = specials.find(({ name }) => name === eosToken);
  const { beginIds, endIds } = readPostProcessor({ postProcessor });
  const before = [...beginIds].flatMap((id) => specials.find((special) => special.id === id) ?? []);
  // Keep a post-processor that already adds end tokens.
  if (!eos || endIds.length > 0 || before.length < beginIds.length) return undefined;
  const byteLevel = flatten(postProcessor, "processors", "post_processor").filter(({ type }) => type === "ByteLevel");
  const template = templateAround(before, [eos]);
  return byteLevel.length > 0 ? { type: "Sequence", processors: [...byteLevel, template] } : template;
}

/** Returns the tokenizer with a post-processor that appends EOS, if its configuration asks for it. */
export function withEos(file: TokenizerFile, config: TokenizerConfig): TokenizerFile {
  const postProcessor = endedByEos(file, config);
  return postProcessor ? { ...file, postProcessor } : file;
}

/** Like withEos, for the parsed contents of tokenizer.json and tokenizer_config.json. */
export function jsonWithEos(tokenizer: unknown, tokenizerConfig: unknown): unknown {
  if (!isObject(tokenizer) || !isObject(tokenizerConfig)) return tokenizer;
  const { added_tokens, post_processor } = tokenizer as JsonObject;
  const added = (Array.isArray(added_tokens) ? added_tokens : []).flatMap((token) =>
    isObject(token) && typeof token.content === "string" && isFileTokenId(token.id)
      ? [{ id: token.id, content: token.content }]
      : [],
  );
  const config = parseConfig({ tokenizerConfig: JSON.stringify(tokenizerConfig) });
  const ended = endedByEos({ added, postProcessor: isObject(post_processor) ? post_processor : null }, config);
  return ended ? { ...tokenizer, post_processor: ended } : tokenizer;
}
