// Reads vocabularies that are older than tokenizer.json: vocab.txt (BERT), and vocab.json with merges.txt (GPT-2 and similar).
import { isObject } from "../../core/is-object.ts";
import { type JsonObject, parseJson } from "../../io/json.ts";
import { namedPatterns } from "../pipeline/patterns.ts";
import type { TokenizerConfig } from "./config.ts";
import { invalidFile, limits, type TokenizerFile } from "./tokenizer-file.ts";
import { readTokenizerFile } from "./tokenizer-json.ts";

const special = (id: number, content: string, flags: JsonObject = {}): JsonObject => ({
  id,
  content,
  special: true,
  normalized: false,
  ...flags,
});

/**
 * Reads BERT's WordPiece from vocab.txt, in which the index of a token's line is its id. `config.bert` has settings from
 * tokenizer_config.json.
 */
export function readVocabText(text: string, config: TokenizerConfig): TokenizerFile {
  const lines = text.split("\n").map((line) => line.replace(/\r$/u, ""));
  if (lines.at(-1) === "") lines.pop();
  if (lines.length > limits.tokens) throw invalidFile("vocab.txt", `at most ${limits.tokens} lines`, lines.length);
  const vocab = Object.fromEntries(lines.map((token, id) => [token.toWellFormed(), id]));
  const named = { pad: "[PAD]", unk: config.unkToken ?? "[UNK]", cls: "[CLS]", sep: "[SEP]", mask: "[MASK]" };
  const idOf = (token: string) => {
    if (!Object.hasOwn(vocab, token)) throw invalidFile("vocab.txt", `the token ${JSON.stringify(token)}`, undefined);
    return vocab[token]!;
  };
  const [cls, sep] = [named.cls, named.sep].map((token) => ({ SpecialToken: { id: token, type_id: 0 } }));
  const specials = Object.values(named).filter((token) => Object.hasOwn(vocab, token));
  const { lowercase = true, stripAccents = null, chineseCharacters = true } = config.bert ?? {};
  return readTokenizerFile({
    added_tokens: specials.map((token) => special(vocab[token]!, token)).sort((a, b) => Number(a.id) - Number(b.id)),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: chineseCharacters,
      strip_accents: stripAccents,
      lowercase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [cls, { Sequence: { id: "A", type_id: 0 } }, sep],
      pair: [
        cls,
        { Sequence: { id: "A", type_id: 0 } },
        sep,
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: named.sep, type_id: 1 } },
      ],
      special_tokens: Object.fromEntries(
        [named.cls, named.sep].map((id) => [id, { id, ids: [idOf(id)], tokens: [id] }]),
      ),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: named.unk,
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  });
}

const ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/**
 * Reads byte-level BPE. The class in tokenizer_config.json selects Qwen's pattern with NFC, or RoBERTa's tokens around texts. Old RoBERTa
 * folders without a class are recognized by their special tokens.
 */
export function readVocabAndMerges(vocabText: string, mergesText: string, config: TokenizerConfig): TokenizerFile {
  const vocab = parseJson(vocabText, "vocab.json", { values: limits.jsonValues });
  if (!isObject(vocab)) throw invalidFile("vocab.json", "an object", vocab);
  const known = vocab;
  const merges = mergesText
    .split("\n")
    .map((line) => line.replace(/\r$/u, ""))
    .filter((line, index) => line !== "" && !(index === 0 && line.startsWith("#version")));
  const kind = config.tokenizerClass ?? "";
  const qwen = /^Qwen2/u.test(kind);
  const roberta =
    /^Roberta|^Longformer|^Bart/u.test(kind) || (kind === "" && ROBERTA.every((name) => Object.hasOwn(known, name)));
  const prefix = roberta && config.addPrefixSpace === true;
  const byteLevel: JsonObject = { type: "ByteLevel", add_prefix_space: prefix, trim_offsets: true, use_regex: !qwen };
  const split: JsonObject = {
    type: "Split",
    pattern: { Regex: namedPatterns.qwen2 },
    behavior: "Isolated",
    invert: false,
  };
  const names = [config.bosToken, config.eosToken, config.unkToken, config.padToken, ...(roberta ? ROBERTA : [])];
  const ids = [...new Set(names)].filter((name) => name !== undefined && Object.hasOwn(known, name));
  const pair = (name: string) => [name, Object.hasOwn(known, name) ? known[name]! : null];
  return readTokenizerFile({
    added_tokens: ids.map((name) => special(Number(known[name!]), name!, { lstrip: name === "<mask>" })),
    normalizer: qwen ? { type: "NFC" } : null,
    pre_tokenizer: qwen ? { type: "Sequence", pretokenizers: [split, byteLevel] } : byteLevel,
    post_processor: roberta
      ? { type: "RobertaProcessing", sep: pair("</s>"), cls: pair("<s>"), trim_offsets: true, add_prefix_space: prefix }
      : { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges },
  });
}
