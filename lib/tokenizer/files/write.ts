// Writes tokenizer.json and tokenizer_config.json for Hugging Face's libraries.
import type { TokenizerConfig } from "./config.ts";
import type { AddedToken, TokenizerFile, TokenizerModel } from "./tokenizer-file.ts";

function addedToJson({ id, content, singleWord, lstrip, rstrip, normalized, special }: AddedToken) {
  return { id, content, single_word: singleWord, lstrip, rstrip, normalized, special };
}

/** Returns the text of tokenizer.json. */
export function tokenizerToJson(file: TokenizerFile): string {
  const head = {
    version: "1.0",
    truncation: file.truncation,
    padding: file.padding,
    added_tokens: file.added.map(addedToJson),
    normalizer: file.normalizer,
    pre_tokenizer: file.preTokenizer,
    post_processor: file.postProcessor,
    decoder: file.decoder,
  };
  return `${inside(head)},"model":${modelToJson(file.model)}}\n`;
}

/** Returns the JSON of an object without its closing brace, so that more fields can follow. */
const inside = (object: object) => JSON.stringify(object).slice(0, -1);

function modelToJson(model: TokenizerModel): string {
  const { type, tokens, ids } = model;
  if (type === "Unigram") {
    const vocab = tokens.map((token, index) => [token, model.scores![index]]);
    return JSON.stringify({ type, unk_id: model.unknownId ?? null, vocab, byte_fallback: model.byteFallback });
  }
  const order = [...ids.keys()].sort((a, b) => ids[a]! - ids[b]!);
  // Write the JSON text directly, because a JavaScript object would put tokens such as "0" first.
  const vocab = `"vocab":{${order.map((index) => `${JSON.stringify(tokens[index])}:${ids[index]}`).join(",")}}`;
  if (type === "WordLevel") return `${inside({ type })},${vocab},"unk_token":${JSON.stringify(model.unknownToken)}}`;
  if (type === "WordPiece") {
    const head = {
      type,
      unk_token: model.unknownToken,
      continuing_subword_prefix: model.subwordPrefix,
      max_input_chars_per_word: model.maxWordCharacters,
    };
    return `${inside(head)},${vocab}}`;
  }
  // All versions of the libraries accept merges that are written as strings. Pairs are needed only if a part contains a space.
  const asText = !model.merges.some((part) => part.includes(" "));
  const merges: string[] = [];
  for (let i = 0; i < model.merges.length; i += 2) {
    const pair = [model.merges[i], model.merges[i + 1]];
    merges.push(JSON.stringify(asText ? pair.join(" ") : pair));
  }
  const head = {
    type,
    dropout: null,
    unk_token: model.unknownToken ?? null,
    continuing_subword_prefix: model.subwordPrefix ?? null,
    end_of_word_suffix: model.wordSuffix ?? null,
    fuse_unk: model.fuseUnknown,
    byte_fallback: model.byteFallback,
    ignore_merges: model.ignoreMerges,
  };
  return `${inside(head)},${vocab},"merges":[${merges.join(",")}]}`;
}

/** Returns the text of tokenizer_config.json. */
export function configToJson(file: TokenizerFile, config: TokenizerConfig): string {
  const decoder = Object.fromEntries(
    file.added.map((token) => {
      const { id, ...rest } = addedToJson(token);
      return [id, rest];
    }),
  );
  const templates = Object.entries(config.chatTemplates);
  const only = templates.length === 1 && templates[0]![0] === "default" ? templates[0]![1] : undefined;
  const json = {
    added_tokens_decoder: decoder,
    add_bos_token: config.addBosToken,
    add_eos_token: config.addEosToken,
    bos_token: config.bosToken ?? null,
    cls_token: config.clsToken,
    chat_template:
      only ?? (templates.length > 0 ? templates.map(([name, template]) => ({ name, template })) : undefined),
    clean_up_tokenization_spaces: false,
    eos_token: config.eosToken ?? null,
    mask_token: config.maskToken,
    model_max_length: config.modelMaxLength ?? 1e30,
    pad_token: config.padToken ?? null,
    sep_token: config.sepToken,
    tokenizer_class: config.tokenizerClass ?? "PreTrainedTokenizerFast",
    unk_token: config.unkToken ?? null,
  };
  return `${JSON.stringify(json, undefined, 2)}\n`;
}
