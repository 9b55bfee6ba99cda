// Reads tokenizer_config.json and related files: special tokens, chat templates, maximum length.
import { isObject } from "../../core/is-object.ts";
import { type JsonObject, parseJson } from "../../io/json.ts";
import { invalidFile, isFileTokenId, limits } from "./tokenizer-file.ts";

/** The content of tokenizer_config.json, or defaults from the tokenizer's file. */
export interface TokenizerConfig {
  /** Text of the special token at the start of a text. */
  bosToken?: string;
  /** Text of the special token at the end of a text. */
  eosToken?: string;
  /** Text of the padding token. */
  padToken?: string;
  /** Text of the token for unknown input. */
  unkToken?: string;
  /** Text of the token between two texts, as in BERT. */
  sepToken?: string;
  /** Text of the token whose hidden state stands for the whole text, as in BERT. */
  clsToken?: string;
  /** Text of the token that stands for a masked one. */
  maskToken?: string;
  /** End-of-sequence ids from generation_config.json, which may have several. */
  eosTokenIds: number[];
  /** Chat templates by name. The usual one is "default". */
  chatTemplates: Record<string, string>;
  /** Maximum number of tokens of a text (`model_max_length`). */
  modelMaxLength?: number;
  /** Whether texts begin with bosToken. */
  addBosToken?: boolean;
  /** Whether texts end with eosToken. */
  addEosToken?: boolean;
  /** Whether a space is prepended to texts. */
  addPrefixSpace?: boolean;
  /** Name of the class in transformers. */
  tokenizerClass?: string;
  /** Whether the tokenizer's class is custom code in the folder. */
  customCode?: boolean;
  /** Settings for vocab.txt. */
  bert?: { lowercase?: boolean; stripAccents?: boolean; chineseCharacters?: boolean };
}

/** The contents of tokenizer_config.json and related files. */
export interface ConfigTexts {
  /** Text of added_tokens.json, for vocabularies other than tokenizer.json. */
  addedTokens?: string | undefined;
  /** Text of tokenizer_config.json. */
  tokenizerConfig?: string | undefined;
  /** Text of special_tokens_map.json. */
  specialTokensMap?: string | undefined;
  /** Text of generation_config.json, whose end tokens the tokenizer takes over. */
  generationConfig?: string | undefined;
  /** Text of chat_template.jinja. */
  chatTemplate?: string | undefined;
  /** Texts of the templates in additional_chat_templates, by name, such as `tool_use`. */
  chatTemplates?: Readonly<Record<string, string>> | undefined;
}

/** Parses one of the files, which must contain an object. @throws HeddleError INVALID_FILE */
export function parseNamed(text: string | undefined, name: string): JsonObject {
  if (text === undefined) return {};
  const json = parseJson(text, name, { values: limits.jsonValues });
  if (!isObject(json)) throw invalidFile(name, "an object", json);
  return json as JsonObject;
}

/** Returns the text of a special token, which is stored as a string or as `{ content }`. */
function tokenName(value: unknown): string | undefined {
  const name = isObject(value) ? value.content : value;
  return typeof name === "string" && name !== "" ? name.toWellFormed() : undefined;
}

/** Parses tokenizer_config.json and the files next to it. @throws HeddleError INVALID_FILE */
export function parseConfig(texts: ConfigTexts): TokenizerConfig {
  const config = parseNamed(texts.tokenizerConfig, "tokenizer_config.json");
  const map = parseNamed(texts.specialTokensMap, "special_tokens_map.json");
  const generation = parseNamed(texts.generationConfig, "generation_config.json");
  const named = (name: string) => tokenName(config[name]) ?? tokenName(map[name]);

  const chatTemplates = new Map<string, string>();
  const addTemplate = (name: unknown, template: unknown) => {
    if (typeof name !== "string" || typeof template !== "string") {
      throw invalidFile("chat_template", "text, or a list of { name, template }", template);
    }
    if (template.length > limits.templateLength) {
      throw invalidFile("chat_template", `at most ${limits.templateLength} characters`, template.length);
    }
    chatTemplates.set(name, template);
  };
  if (Array.isArray(config.chat_template)) {
    // Read at most 64 templates, as in template-files.ts.
    for (const entry of config.chat_template.slice(0, 64)) {
      addTemplate(isObject(entry) ? entry.name : undefined, isObject(entry) ? entry.template : entry);
    }
  } else if (config.chat_template !== undefined && config.chat_template !== null) {
    addTemplate("default", config.chat_template);
  }
  for (const [name, template] of Object.entries(texts.chatTemplates ?? {})) addTemplate(name, template);
  if (texts.chatTemplate !== undefined) addTemplate("default", texts.chatTemplate);

  const eos = generation.eos_token_id;
  const max = config.model_max_length;
  const flag = (name: string) => (typeof config[name] === "boolean" ? (config[name] as boolean) : undefined);
  return {
    bosToken: named("bos_token"),
    eosToken: named("eos_token"),
    padToken: named("pad_token"),
    unkToken: named("unk_token"),
    sepToken: named("sep_token"),
    clsToken: named("cls_token"),
    maskToken: named("mask_token"),
    eosTokenIds: (Array.isArray(eos) ? eos : [eos]).filter(isFileTokenId).slice(0, 64),
    chatTemplates: Object.fromEntries(chatTemplates),
    // Hugging Face writes 1e30 for "no limit".
    modelMaxLength: typeof max === "number" && max > 0 && max < 1e9 ? max : undefined,
    addBosToken: flag("add_bos_token"),
    addEosToken: flag("add_eos_token"),
    addPrefixSpace: flag("add_prefix_space"),
    bert: {
      lowercase: flag("do_lower_case"),
      stripAccents: flag("strip_accents"),
      chineseCharacters: flag("tokenize_chinese_chars"),
    },
    ...(isObject(config.auto_map) && config.auto_map.AutoTokenizer && { customCode: true }),
    tokenizerClass: typeof config.tokenizer_class === "string" ? config.tokenizer_class : undefined,
  };
}
