// Reads vocabularies in GGUF files (keys `tokenizer.*`) as equivalent tokenizer.json files.
import { binding } from "../../binding/index.ts";
import type { NativeJsonVocabulary, NativeLists } from "../../binding/tokenizer.ts";
import { describe, HeddleError } from "../../core/errors.ts";
import { atOnce, inSlices, type Slices } from "../../core/slices.ts";
import type { JsonObject } from "../../io/json.ts";
import { finish } from "../../io/native-jobs.ts";
import type { TokenizerConfig } from "./config.ts";
import { byteLevelPreTokenizer, preTokenizerOf } from "./gguf-pre.ts";
import { unigram, unigramScores, unigramVocabulary } from "./gguf-unigram.ts";
import {
  addedTokens,
  checkSpecialNames,
  type GgufRecord,
  prefix,
  scoresOf,
  template,
  tokenTypes,
  type Vocabulary,
  VocabularyKeys,
} from "./gguf-vocabulary.ts";
import { wordPiece, wordPieceIds, wordPieceTypes, wordPieceVocabulary } from "./gguf-wordpiece.ts";
import { askedFor, unread } from "./model-file.ts";
import { releaseLarge } from "./release.ts";
import { invalidFile, limits, type TokenizerFile, TokenType, unsupported } from "./tokenizer-file.ts";
import { parseTokenizerFile, parseTokenizerFileAsync } from "./tokenizer-json.ts";

export type { GgufRecord };

const spaceMark = "▁";
const known = ["llama", "gpt2", "bert", "t5"];

/** Tokens that end a turn or a text in common chat formats. Generation stops at them even if no key of the file names them. */
const endings = new Set(
  "<|eot_id|> <|eom_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <|return|> <|call|> <EOT> <_EOT> <｜end▁of▁sentence｜>".split(
    " ",
  ),
);

/** Key of the GGUF specification for a whole tokenizer.json. Files that heddle writes have it, so that the tokenizer is restored exactly. */
export const wholeKey = "tokenizer.huggingface.json";

/** A tokenizer and its settings. */
interface Read {
  file: TokenizerFile;
  config: TokenizerConfig;
}

/**
 * Reads `tokenizer.huggingface.json`, or else `tokenizer.ggml.*`: model "llama" (SentencePiece BPE by scores), "gpt2" (byte-level BPE,
 * split as `tokenizer.ggml.pre` says), "bert" (WordPiece) and "t5" (Unigram).
 * @throws HeddleError NOT_FOUND without a vocabulary, INVALID_FILE, UNSUPPORTED for another model or pre-tokenizer
 */
export function readGguf(record: GgufRecord): Read {
  const { lists, whole, read } = atOnce(prepareGguf(record));
  const native = binding.makeListedVocabulary(lists);
  return atOnce(read(native, whole === undefined ? undefined : parseTokenizerFile(whole)));
}

/**
 * Like readGguf, mostly off the event loop.
 * @param how.takes whether the record's lists may be emptied to free their memory
 */
export async function readGgufAsync(
  record: GgufRecord,
  { signal, takes = false }: { signal?: AbortSignal | undefined; takes?: boolean },
): Promise<Read> {
  const { lists, whole, read } = await inSlices(prepareGguf(record), WORK, signal);
  const native = await finish(binding.startListedVocabulary({ ...lists, takes }), signal);
  if (takes) for (const name of ["scores", "token_type"]) releaseLarge(record[prefix + name]);
  const file = whole === undefined ? undefined : await parseTokenizerFileAsync(whole, undefined, signal);
  return inSlices(read(native, file), WORK, signal);
}

const WORK = "Tokenizer.load";

interface Prepared {
  /** The lists from which native code makes the vocabulary. */
  lists: NativeLists;
  /** The text of a whole tokenizer.json, if the file contains one. */
  whole: string | undefined;
  read(native: NativeJsonVocabulary, file: TokenizerFile | undefined): Slices<Read>;
}

/**
 * Checks the metadata, and collects the lists for native code. It yields between its passes over all tokens, because a pass over millions
 * of tokens takes milliseconds.
 */
function* prepareGguf(record: GgufRecord): Slices<Prepared> {
  const reader = new VocabularyKeys(record);
  const tokens = reader.strings("tokens");
  if (!tokens) throw new HeddleError("NOT_FOUND", `${prefix}tokens: the file has no vocabulary`);
  const count = tokens.length;
  if (count === 0 || count > limits.tokens) throw invalidFile(`${prefix}tokens`, `1 to ${limits.tokens}`, count);
  const model = reader.string("model") ?? "llama";
  const whole = record[wholeKey];
  if (whole !== undefined && typeof whole !== "string") throw invalidFile(wholeKey, "a string", whole);
  if (whole === undefined && !known.includes(model)) {
    throw unsupported(`${prefix}model`, `${describe(model)} (known: ${known.join(", ")})`);
  }
  const pre = reader.string("pre");
  const given = reader.numbers("token_type", count);
  const types = given ? tokenTypes(given) : new Uint8Array(count).fill(TokenType.normal);
  yield;
  checkSpecialNames(reader, types);
  const settings = {
    types,
    bos: reader.id("bos_token_id", count),
    eos: reader.id("eos_token_id", count),
    addBos: reader.boolean("add_bos_token") ?? (model === "llama" || (preTokenizerOf(pre)?.addsBos ?? false)),
    addEos: reader.boolean("add_eos_token") ?? false,
  };
  const lists: NativeLists = { tokens, types, where: `${prefix}tokens` };
  if (model === "bert") {
    const ids = wordPieceIds(reader, count);
    const special = wordPieceTypes(reader, types, ids);
    const read: Prepared["read"] = function* (native, file) {
      const words = wordPieceVocabulary({ ...settings, native, types: special });
      const own = file ?? wordPiece(reader, words, ids);
      yield;
      return { file: own, config: makeConfig(record, reader, words, ids.unknown) };
    };
    return { lists: { ...lists, types: special, wordMarks: true }, whole, read };
  }
  if (model === "t5") {
    const read: Prepared["read"] = function* (native, given) {
      const pieces = unigramVocabulary(reader, { ...settings, native });
      const file = given ?? unigram(reader, pieces);
      yield;
      return { file, config: makeConfig(record, reader, pieces, file.model.unknownId) };
    };
    const scores = whole === undefined ? unigramScores(reader, count) : undefined;
    yield;
    return { lists: { ...lists, scores }, whole, read };
  }
  const unknown = reader.id("unknown_token_id", count) ?? indexOrUndefined(types.indexOf(TokenType.unknown));
  const read: Prepared["read"] = function* (native, given) {
    const vocabulary = { ...settings, native };
    const made = () => (model === "llama" ? sentencePiece(reader, vocabulary, unknown) : byteLevel(vocabulary, pre));
    const file = given ?? made();
    yield;
    return { file, config: makeConfig(record, reader, vocabulary, unknown) };
  };
  if (whole !== undefined) return { lists, whole, read };
  if (model === "llama") {
    const scores = scoresOf(reader, count);
    yield;
    return { lists: { ...lists, scores, mergesByScore: true }, whole, read };
  }
  const merges = reader.strings("merges");
  if (!merges) throw invalidFile(`${prefix}merges`, "strings", undefined);
  return { lists: { ...lists, merges, mergesWhere: `${prefix}merges` }, whole, read };
}

function indexOrUndefined(index: number): number | undefined {
  return index < 0 ? undefined : index;
}

function makeConfig(
  record: GgufRecord,
  reader: VocabularyKeys,
  { native, types, bos, eos, addBos, addEos }: Vocabulary,
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
  const count = native.size;
  const pad = reader.id("padding_token_id", count);
  const named = (id: number | undefined) => (id === undefined ? undefined : native.token(id));
  const ends = [eos, reader.id("eot_token_id", count), reader.id("eom_token_id", count)];
  // Few tokens have this type, and indexOf skips the others natively.
  for (let id = types.indexOf(TokenType.control); id >= 0; id = types.indexOf(TokenType.control, id + 1))
    if (endings.has(native.token(id)!)) ends.push(id);
  return {
    bosToken: named(bos),
    eosToken: named(eos),
    padToken: named(pad),
    unkToken: named(unknown),
    sepToken: named(reader.id("seperator_token_id", count)), // GGUF's spelling
    clsToken: named(reader.id("cls_token_id", count)),
    maskToken: named(reader.id("mask_token_id", count)),
    eosTokenIds: ends.filter((id) => id !== undefined),
    chatTemplates: Object.fromEntries(chatTemplates),
    addBosToken: addBos,
    addEosToken: addEos,
  };
}

function sentencePiece(reader: VocabularyKeys, vocabulary: Vocabulary, unknown: number | undefined): TokenizerFile {
  const { native } = vocabulary;
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
    model: askedFor(native, {
      type: "BPE",
      ...unread,
      unknownToken: unknown === undefined ? undefined : native.token(unknown),
      ...(unknown !== undefined && { unknownId: unknown }),
      byteFallback: true,
      fuseUnknown: true,
      ignoreMerges: false,
    }),
  };
}

function byteLevel(vocabulary: Vocabulary, pre: string | undefined): TokenizerFile {
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
    model: askedFor(vocabulary.native, {
      type: "BPE",
      ...unread,
      unknownToken: undefined,
      byteFallback: false,
      fuseUnknown: false,
      ignoreMerges: found.ignoreMerges ?? false,
    }),
  };
}
