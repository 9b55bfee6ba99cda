// Vocabularies inside GGUF files (keys `tokenizer.*`), as the tokenizer.json they amount to.
import { describe, HeddleError } from "../errors.ts";
import type { TokenizerConfig } from "./config.ts";
import { byteLevelPreTokenizer, preTokenizerOf } from "./gguf-pre.ts";
import { unigram, unigramVocabulary } from "./gguf-unigram.ts";
import {
  addedTokens,
  type GgufRecord,
  prefix,
  scoresOf,
  template,
  type Vocabulary,
  VocabularyKeys,
} from "./gguf-vocabulary.ts";
import { wordPiece, wordPieceIds, wordPieceVocabulary } from "./gguf-wordpiece.ts";
import { mergesFromScores, TokenType } from "./merges.ts";
import { invalidFile, type JsonObject, limits, placeIds, type TokenizerFile, unsupported } from "./tokenizer-file.ts";
import { parseTokenizerFile } from "./tokenizer-json.ts";

export type { GgufRecord };

const spaceMark = "▁";
const known = ["llama", "gpt2", "bert", "t5"];

/** What ends a turn or a text in the chat formats in use, where the file's keys do not say it. */
const endings = new Set(
  "<|eot_id|> <|eom_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <|return|> <|call|> <EOT> <_EOT> <｜end▁of▁sentence｜>".split(
    " ",
  ),
);

/** The whole tokenizer.json, which files of ours carry (a key of the GGUF specification): the way back is exact. */
const wholeKey = "tokenizer.huggingface.json";

/**
 * Reads `tokenizer.huggingface.json`, or else `tokenizer.ggml.*`: model "llama" (SentencePiece BPE by scores), "gpt2" (byte-level BPE, split as
 * `tokenizer.ggml.pre` says), "bert" (WordPiece) and "t5" (Unigram). Throws NOT_FOUND without a vocabulary, INVALID_FILE, or UNSUPPORTED naming the kind.
 */
export function readGguf(record: GgufRecord): { file: TokenizerFile; config: TokenizerConfig } {
  const reader = new VocabularyKeys(record);
  const tokens = reader.strings("tokens");
  if (!tokens) throw new HeddleError("NOT_FOUND", `${prefix}tokens: the file has no vocabulary`);
  if (tokens.length === 0 || tokens.length > limits.tokens) {
    throw invalidFile(`${prefix}tokens`, `1 to ${limits.tokens}`, tokens.length);
  }
  const long = tokens.find((token) => token.length > limits.tokenLength);
  if (long !== undefined) throw invalidFile(`${prefix}tokens`, `at most ${limits.tokenLength} characters`, long.length);
  const model = reader.string("model") ?? "llama";
  const whole = record[wholeKey];
  if (whole !== undefined && typeof whole !== "string") throw invalidFile(wholeKey, "a string", whole);
  if (whole === undefined && !known.includes(model)) {
    throw unsupported(`${prefix}model`, `${describe(model)} (known: ${known.join(", ")})`);
  }
  const pre = reader.string("pre");
  const count = tokens.length;
  const types = reader.numbers("token_type", count) ?? new Uint8Array(count).fill(TokenType.normal);
  const vocabulary: Vocabulary = {
    tokens,
    types,
    bos: reader.id("bos_token_id", count),
    eos: reader.id("eos_token_id", count),
    addBos: reader.boolean("add_bos_token") ?? (model === "llama" || (preTokenizerOf(pre)?.addsBos ?? false)),
    addEos: reader.boolean("add_eos_token") ?? false,
  };
  if (model === "bert") {
    const ids = wordPieceIds(reader, count);
    const words = wordPieceVocabulary(reader, vocabulary, ids);
    const file = whole === undefined ? wordPiece(reader, words, ids) : parseTokenizerFile(whole);
    return { file, config: makeConfig(record, reader, words, ids.unknown) };
  }
  if (model === "t5") {
    const pieces = unigramVocabulary(reader, vocabulary);
    const file = whole === undefined ? unigram(reader, pieces) : parseTokenizerFile(whole);
    return { file, config: makeConfig(record, reader, pieces, file.model.unknownId) };
  }
  const unknown = reader.id("unknown_token_id", count) ?? indexOrUndefined(types.indexOf(TokenType.unknown));
  if (whole !== undefined)
    return { file: parseTokenizerFile(whole), config: makeConfig(record, reader, vocabulary, unknown) };
  const file = model === "llama" ? sentencePiece(reader, vocabulary, unknown) : byteLevel(reader, vocabulary, pre);
  return { file, config: makeConfig(record, reader, vocabulary, unknown) };
}

function indexOrUndefined(index: number): number | undefined {
  return index < 0 ? undefined : index;
}

function makeConfig(
  record: GgufRecord,
  reader: VocabularyKeys,
  { tokens, types, bos, eos, addBos, addEos }: Vocabulary,
  unknown: number | undefined,
): TokenizerConfig {
  const chatTemplates = new Map<string, string>();
  for (const [key, template] of Object.entries(record)) {
    const name = key === "tokenizer.chat_template" ? "default" : /^tokenizer\.chat_template\.(\w+)$/u.exec(key)?.[1];
    if (name === undefined || typeof template !== "string") continue;
    if (template.length > limits.templateLength) {
      throw invalidFile(key, `at most ${limits.templateLength} characters`, template.length);
    }
    chatTemplates.set(name, template);
  }
  const pad = reader.id("padding_token_id", tokens.length);
  const named = (id: number | undefined) => (id === undefined ? undefined : tokens[id]);
  const ends = [eos, reader.id("eot_token_id", tokens.length), reader.id("eom_token_id", tokens.length)];
  tokens.forEach((token, id) => {
    if (types[id] === TokenType.control && endings.has(token)) ends.push(id);
  });
  return {
    bosToken: named(bos),
    eosToken: named(eos),
    padToken: named(pad),
    unkToken: named(unknown),
    sepToken: named(reader.id("seperator_token_id", tokens.length)), // as GGUF spells it
    clsToken: named(reader.id("cls_token_id", tokens.length)),
    maskToken: named(reader.id("mask_token_id", tokens.length)),
    eosTokenIds: ends.filter((id) => id !== undefined),
    chatTemplates: Object.fromEntries(chatTemplates),
    addBosToken: addBos,
    addEosToken: addEos,
  };
}

function sentencePiece(reader: VocabularyKeys, vocabulary: Vocabulary, unknown: number | undefined): TokenizerFile {
  const { tokens } = vocabulary;
  const prepends = reader.boolean("add_space_prefix") ?? true;
  const replace: JsonObject = { type: "Replace", pattern: { String: " " }, content: spaceMark };
  const decoders: JsonObject[] = [
    { type: "Replace", pattern: { String: spaceMark }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  if (prepends) decoders.push({ type: "Strip", content: " ", start: 1, stop: 0 });
  return {
    added: addedTokens(vocabulary),
    normalizer: prepends
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: spaceMark }, replace] }
      : replace,
    preTokenizer: null,
    postProcessor: template(vocabulary),
    decoder: { type: "Sequence", decoders },
    truncation: null,
    padding: null,
    model: {
      type: "BPE",
      tokens,
      ids: placeIds(tokens),
      ...mergesFromScores(tokens, vocabulary.types, scoresOf(reader, tokens.length), `${prefix}tokens`),
      unknownToken: unknown === undefined ? undefined : tokens[unknown],
      byteFallback: true,
      fuseUnknown: true,
      ignoreMerges: false,
    },
  };
}

function byteLevel(reader: VocabularyKeys, vocabulary: Vocabulary, pre: string | undefined): TokenizerFile {
  const { tokens } = vocabulary;
  const joined = reader.strings("merges");
  if (!joined) throw invalidFile(`${prefix}merges`, "strings", undefined);
  const merges: string[] = [];
  for (let index = 0; index < joined.length; index++) {
    const merge = joined[index]!;
    const space = merge.indexOf(" ", 1);
    if (space < 0 || space + 1 >= merge.length || merge.includes(" ", space + 1)) {
      throw invalidFile(`${prefix}merges[${index}]`, "two parts with one space between them", merge);
    }
    merges.push(merge.slice(0, space), merge.slice(space + 1));
  }
  const found = preTokenizerOf(pre);
  if (!found) throw unsupported(`${prefix}pre`, describe(pre));
  const decoder: JsonObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const around = template(vocabulary);
  return {
    added: addedTokens(vocabulary),
    normalizer: found.nfc ? { type: "NFC" } : null,
    preTokenizer: byteLevelPreTokenizer(found),
    postProcessor: around ? { type: "Sequence", processors: [decoder, around] } : decoder,
    decoder,
    truncation: null,
    padding: null,
    model: {
      type: "BPE",
      tokens,
      ids: placeIds(tokens),
      merges,
      unknownToken: undefined,
      byteFallback: false,
      fuseUnknown: false,
      ignoreMerges: found.ignoreMerges ?? false,
    },
  };
}
