// Converts a tokenizer.json to GGUF's `tokenizer.*` keys for llama.cpp. The file also stores the whole tokenizer.json under
// `tokenizer.huggingface.json`, a key of the GGUF specification, so that it can be restored exactly.

import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { GgufValue } from "../../formats/gguf/gguf-types.ts";
import type { JsonFields } from "../../io/json.ts";
import { namedPatterns } from "../pipeline/patterns.ts";
import { wholeKey } from "./gguf.ts";
import { knownPreTokenizers, preOf } from "./gguf-pre.ts";
import { wordPieceToGguf } from "./gguf-wordpiece.ts";
import { TokenType } from "./tokenizer-file.ts";

/** The tokenizer files of a Hugging Face folder. */
interface TokenizerFiles {
  /** The parsed tokenizer.json. */
  tokenizer: unknown;
  /** The parsed tokenizer_config.json, if any. */
  config?: unknown;
  /** Chat templates in separate files, by name. They override those of the config. */
  chatTemplates?: Readonly<Record<string, string>>;
  /** Path of the folder, for messages. */
  path: string;
}

interface TokenIds {
  vocabSize: number;
  bosTokenId: number | null;
  eosTokenIds: readonly number[];
  padTokenId: number | null;
}

/** Returns the GGUF keys of a tokenizer. @throws HeddleError INVALID_FILE, UNSUPPORTED for a tokenizer that GGUF cannot express */
export function tokenizerToGguf(files: TokenizerFiles, ids: TokenIds): Map<string, GgufValue> {
  const { path } = files;
  const tokenizer = object(files.tokenizer);
  const model = object(tokenizer.model);
  if (model.type !== "BPE" && model.type !== "WordPiece" && model.type !== "Unigram") {
    throw new HeddleError(
      "UNSUPPORTED",
      `${path}: tokenizer model: expected BPE, WordPiece or Unigram, got ${String(model.type)}`,
    );
  }
  const vocab = readVocab(tokenizer, model, ids.vocabSize, path);
  if (model.type === "Unigram") return unigramMetadata(files, tokenizer, model, vocab, ids);
  if (model.type === "WordPiece") return wordPieceMetadata(files, tokenizer, model, vocab, ids);
  const merges = readMerges(model, path);
  const spm = model.byte_fallback === true;

  const meta = new Map<string, GgufValue>();
  const set = (key: string, value: GgufValue) => meta.set(`tokenizer.ggml.${key}`, value);
  const id = (key: string, value: number | null | undefined) => {
    if (value !== null && value !== undefined) set(key, { type: "u32", value });
  };
  set("model", { type: "string", value: spm ? "llama" : "gpt2" });
  const pre = spm ? "default" : preTokenizer(tokenizer, path);
  const roberta = pre === "gpt-2" && steps(tokenizer.post_processor, "processors")[0]?.type === "RobertaProcessing";
  set("pre", { type: "string", value: roberta ? "roberta-bpe" : pre });
  set("tokens", { type: "array", of: "string", value: vocab.tokens });
  set("token_type", { type: "array", of: "i32", value: vocab.types });
  if (spm) set("scores", { type: "array", of: "f32", value: scores(vocab, merges) });
  else set("merges", { type: "array", of: "string", value: merges.map(([left, right]) => `${left} ${right}`) });

  const template = templateTokens(tokenizer);
  const named = namedTokens(object(files.config), vocab);
  const ends = ids.eosTokenIds.length > 0 ? ids.eosTokenIds : [named.eos ?? template.eos];
  // llama.cpp appends its EOS token to texts, so the template's token comes first.
  const eos = template.eos === undefined ? ends : [...new Set([template.eos, ...ends])];
  id("bos_token_id", template.bos ?? named.bos ?? ids.bosTokenId);
  // GGUF has three keys for end tokens: of a sequence, of a turn, and of a message.
  for (const [i, key] of ["eos_token_id", "eot_token_id", "eom_token_id"].entries()) id(key, eos[i]);
  if (roberta) id("seperator_token_id", template.eos); // GGUF's spelling
  if (roberta) id("mask_token_id", vocab.ids.get("<mask>"));
  id("unknown_token_id", typeof model.unk_token === "string" ? vocab.ids.get(model.unk_token) : undefined);
  id("padding_token_id", ids.padTokenId ?? named.pad);
  set("add_bos_token", { type: "bool", value: template.bos !== undefined });
  set("add_eos_token", { type: "bool", value: template.eos !== undefined });
  if (spm) set("add_space_prefix", { type: "bool", value: prependsSpace(tokenizer) });
  for (const [key, value] of templates(files)) meta.set(key, value);
  meta.set(wholeKey, { type: "string", value: JSON.stringify(files.tokenizer) });
  return meta;
}

type Refuse = (what: string, expected: string, got: unknown) => never;

/** Returns a function that refuses features for which llama.cpp's vocabulary of this kind has no key. */
function refusing({ path }: TokenizerFiles, kind: string): Refuse {
  return (what, expected, got) => {
    throw new HeddleError(
      "UNSUPPORTED",
      `${path}: ${what}: expected ${expected} for GGUF's ${kind}, got ${describe(got)}`,
    );
  };
}

/** Returns the keys of llama.cpp's WordPiece. Unsupported steps are refused, because llama.cpp would produce other tokens. */
function wordPieceMetadata(
  files: TokenizerFiles,
  tokenizer: JsonFields,
  model: JsonFields,
  vocab: Vocab,
  { padTokenId }: TokenIds,
): Map<string, GgufValue> {
  const refuse: Refuse = refusing(files, "WordPiece");
  const [normalizer, ...others] = steps(tokenizer.normalizer, "normalizers");
  const [split, ...splits] = steps(tokenizer.pre_tokenizer, "pretokenizers");
  if (normalizer?.type !== "BertNormalizer" || others.length > 0)
    refuse("normalizer", "only BertNormalizer", normalizer?.type);
  for (const key of ["clean_text", "handle_chinese_chars"])
    if (normalizer?.[key] === false) refuse(`normalizer.${key}`, "true", false);
  if (split?.type !== "BertPreTokenizer" || splits.length > 0)
    refuse("pre_tokenizer", "only BertPreTokenizer", split?.type);
  if ((model.continuing_subword_prefix ?? "##") !== "##")
    refuse("model.continuing_subword_prefix", "##", model.continuing_subword_prefix);
  const [lowercase = true, strips] = [normalizer?.lowercase as boolean | undefined, normalizer?.strip_accents];

  const meta = new Map<string, GgufValue>();
  const set = (key: string, value: GgufValue) => meta.set(`tokenizer.ggml.${key}`, value);
  const named = namedTokens(object(files.config), vocab);
  const template = templateTokens(tokenizer);
  const idOf = (name: string) => vocab.ids.get(name);
  const ids: Record<string, number | null | undefined> = {
    cls_token_id: template.bos ?? idOf("[CLS]"),
    seperator_token_id: template.eos ?? idOf("[SEP]"), // GGUF's spelling
    unknown_token_id: idOf(typeof model.unk_token === "string" ? model.unk_token : "[UNK]"),
    padding_token_id: padTokenId ?? named.pad ?? idOf("[PAD]"),
    mask_token_id: idOf("[MASK]"),
  };
  for (const key of ["cls_token_id", "seperator_token_id", "unknown_token_id"])
    if (ids[key] === undefined) refuse(key, "a token of that kind", undefined);
  // llama.cpp's names for the tokens at the beginning and end of texts.
  ids.bos_token_id = ids.cls_token_id;
  ids.eos_token_id = ids.seperator_token_id;
  const tokens = vocab.tokens.map((token, id) => wordPieceToGguf(token, vocab.types[id]!));
  set("model", { type: "string", value: "bert" });
  set("pre", { type: "string", value: "default" });
  set("tokens", { type: "array", of: "string", value: tokens });
  set("token_type", { type: "array", of: "i32", value: vocab.types });
  for (const [key, value] of Object.entries(ids)) if (typeof value === "number") set(key, { type: "u32", value });
  set("normalizer.lowercase", { type: "bool", value: lowercase });
  set("normalizer.strip_accents", { type: "bool", value: typeof strips === "boolean" ? strips : lowercase });
  meta.set(wholeKey, { type: "string", value: JSON.stringify(files.tokenizer) });
  return meta;
}

/** Returns the keys of llama.cpp's Unigram. Unsupported steps are refused, because llama.cpp would produce other tokens. */
function unigramMetadata(
  files: TokenizerFiles,
  tokenizer: JsonFields,
  model: JsonFields,
  vocab: Vocab,
  { padTokenId }: TokenIds,
): Map<string, GgufValue> {
  const refuse: Refuse = refusing(files, "Unigram");
  let charsmap: Uint8Array | undefined;
  let [prefix, collapses] = [false, false];
  for (const step of steps(tokenizer.normalizer, "normalizers")) {
    const { type, precompiled_charsmap: map, pattern, content } = step;
    if (type === "Precompiled" && typeof map === "string" && !charsmap) charsmap = Buffer.from(map, "base64");
    else if (type === "Prepend" && step.prepend === "▁") prefix = true;
    // These steps remove spaces at the ends of a text, and repeated spaces.
    else if (
      type === "Strip" ||
      (type === "Replace" && SPACES.test(String(object(pattern).Regex)) && /^[ ▁]?$/.test(String(content)))
    )
      collapses = true;
    else refuse("normalizer", "Precompiled, and steps that remove spaces or prepend one", type);
  }
  for (const { type, replacement, prepend_scheme: scheme, add_prefix_space: adds } of steps(
    tokenizer.pre_tokenizer,
    "pretokenizers",
  )) {
    if (type === "WhitespaceSplit") collapses = true;
    else if (type !== "Metaspace" || replacement !== "▁")
      refuse("pre_tokenizer", "WhitespaceSplit and Metaspace", type);
    else prefix ||= scheme !== "never" && adds !== false;
  }
  const unknown = model.unk_id;
  if (typeof unknown !== "number" || vocab.types[unknown] === undefined)
    return refuse("model.unk_id", "the id of a token", unknown);
  vocab.types[unknown] = TokenType.unknown;

  const meta = new Map<string, GgufValue>();
  const set = (key: string, value: GgufValue) => meta.set(`tokenizer.ggml.${key}`, value);
  const template = templateTokens(tokenizer);
  const named = namedTokens(object(files.config), vocab);
  const ids: Record<string, number | undefined> = {
    bos_token_id: template.bos ?? named.bos,
    eos_token_id: template.eos ?? named.eos,
    seperator_token_id: template.eos, // GGUF's spelling
    unknown_token_id: unknown,
    padding_token_id: padTokenId ?? named.pad ?? vocab.ids.get("<pad>"),
    mask_token_id: vocab.ids.get("<mask>"),
  };
  const given = Array.isArray(model.vocab) ? (model.vocab as unknown[]) : [];
  const scores = new Float32Array(vocab.tokens.length).fill(UNUSED_SCORE);
  for (const [id, piece] of given.entries()) {
    const score: unknown = Array.isArray(piece) ? piece[1] : undefined;
    if (typeof score !== "number")
      throw new HeddleError("INVALID_FILE", `${files.path}: model.vocab[${id}]: expected a score`);
    scores[id] = score;
  }
  set("model", { type: "string", value: "t5" });
  set("pre", { type: "string", value: "default" });
  set("tokens", { type: "array", of: "string", value: vocab.tokens });
  set("scores", { type: "array", of: "f32", value: scores });
  set("token_type", { type: "array", of: "i32", value: vocab.types });
  for (const [key, value] of Object.entries(ids)) if (value !== undefined) set(key, { type: "u32", value });
  set("add_bos_token", { type: "bool", value: template.bos !== undefined });
  set("add_eos_token", { type: "bool", value: template.eos !== undefined });
  set("add_space_prefix", { type: "bool", value: prefix });
  set("remove_extra_whitespaces", { type: "bool", value: collapses });
  if (charsmap) set("precompiled_charsmap", { type: "array", of: "u8", value: charsmap });
  meta.set(wholeKey, { type: "string", value: JSON.stringify(files.tokenizer) });
  return meta;
}

/** Matches the regular expressions for spaces at the ends of a text and for repeated spaces. */
const SPACES = /^(\\A \+\| \+\\z| \{2,\})$/;
/** Score of unused ids, as in llama.cpp's converter. */
const UNUSED_SCORE = -10000;

interface Vocab {
  tokens: string[];
  types: Int32Array;
  ids: ReadonlyMap<string, number>;
}

function readVocab(tokenizer: JsonFields, model: JsonFields, size: number, path: string): Vocab {
  const invalid = (message: string) => new HeddleError("INVALID_FILE", `${path}: ${message}`);
  const ids = new Map<string, number>();
  const tokens = new Array<string | undefined>(size).fill(undefined);
  const types = new Int32Array(size).fill(TokenType.unused);
  const put = (token: string, id: unknown, type: number) => {
    if (!isWhole(id, 0, size - 1)) {
      throw invalid(
        `token ${JSON.stringify(token.slice(0, 60))}: expected an id below vocab_size ${size}, got ${String(id)}`,
      );
    }
    tokens[id as number] = token;
    types[id as number] = type;
    ids.set(token, id as number);
  };
  const byte = model.byte_fallback === true ? /^<0x[0-9A-F]{2}>$/ : undefined;
  const given: [string, unknown][] = Array.isArray(model.vocab)
    ? model.vocab.map((piece: unknown, id) => [String(Array.isArray(piece) ? piece[0] : piece), id])
    : Object.entries(object(model.vocab));
  for (const [token, id] of given) {
    put(token, id, byte?.test(token) ? TokenType.byte : TokenType.normal);
  }
  for (const added of Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : []) {
    const { content, id, special } = object(added);
    if (typeof content !== "string") throw invalid("added_tokens: expected objects with content");
    const type =
      special !== true ? TokenType.userDefined : content === model.unk_token ? TokenType.unknown : TokenType.control;
    put(content, id, type);
  }
  // The embedding may have more rows than the vocabulary has tokens. Name these unused ids as llama.cpp's converter does.
  return { tokens: tokens.map((token, i) => token ?? `[PAD${i}]`), types, ids };
}

function readMerges(model: JsonFields, path: string): [string, string][] {
  const merges = Array.isArray(model.merges) ? (model.merges as unknown[]) : [];
  return merges.map((merge, i) => {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    if (Array.isArray(pair) && pair.length === 2 && typeof pair[0] === "string" && typeof pair[1] === "string") {
      return pair as [string, string];
    }
    throw new HeddleError("INVALID_FILE", `${path}: merge ${i}: expected two tokens`);
  });
}

/**
 * Returns scores with which SentencePiece's BPE merges in the order of the merge list. SentencePiece first merges the pair whose result has
 * the best score, and on a tie the leftmost pair. A piece's score is minus the rank of the first merge that yields it. If the merges of
 * several pieces interleave in the list, these pieces had equal scores in the original model, and get equal scores here.
 */
function scores(vocab: Vocab, merges: [string, string][]): Float32Array {
  const yields = merges.map(([left, right]) => vocab.ids.get(left + right));
  const last = new Map<number, number>(); // piece → rank of its last merge
  for (const [rank, id] of yields.entries()) if (id !== undefined) last.set(id, rank);

  const result = new Float32Array(vocab.tokens.length).fill(-merges.length - 1);
  for (const [id, type] of vocab.types.entries()) {
    if (type !== TokenType.normal && type !== TokenType.userDefined) result[id] = 0;
  }
  let groupStart = 0;
  let groupEnd = -1;
  for (const [rank, id] of yields.entries()) {
    if (id === undefined) continue;
    if (rank > groupEnd) groupStart = rank;
    groupEnd = Math.max(groupEnd, last.get(id)!);
    result[id] = -groupStart;
  }
  return result;
}

/** Returns the steps of a normalizer, pre-tokenizer or post-processor, which may be a Sequence or a single step. */
function steps(value: unknown, key: string): JsonFields[] {
  const step = object(value);
  if (step.type === "Sequence") return (Array.isArray(step[key]) ? (step[key] as unknown[]) : []).map(object);
  return step.type === undefined ? [] : [step];
}

/** Returns GGUF's name of the pre-tokenizer. */
function preTokenizer(tokenizer: JsonFields, path: string): string {
  const patterns: string[] = [];
  for (const step of steps(tokenizer.pre_tokenizer, "pretokenizers")) {
    const regex = object(step.pattern).Regex;
    if (step.type === "Split" && typeof regex === "string") patterns.push(regex);
    else if (step.type === "Digits" && step.individual_digits === true) patterns.push("\\p{N}");
    else if (step.type === "ByteLevel" && step.add_prefix_space === true)
      throw new HeddleError(
        "UNSUPPORTED",
        `${path}: pre_tokenizer: add_prefix_space: GGUF's byte-level BPE does not support it`,
      );
    else if (step.type === "ByteLevel" && step.use_regex !== false) patterns.push(namedPatterns.gpt2);
    else if (step.type !== "ByteLevel") patterns.push(String(step.type)); // not a pattern, so preOf finds no name
  }
  const name = preOf(patterns, object(tokenizer.model).ignore_merges === true);
  if (name !== undefined) return name;
  throw new HeddleError(
    "UNSUPPORTED",
    `${path}: pre_tokenizer: expected a pattern that GGUF names (${knownPreTokenizers.join(", ")}), got another`,
  );
}

/** Returns the ids of the tokens that the post-processor adds before and after a text. */
function templateTokens(tokenizer: JsonFields): { bos?: number; eos?: number } {
  const processors = steps(tokenizer.post_processor, "processors");
  const pair = processors.find((step) => step.type === "RobertaProcessing" || step.type === "BertProcessing");
  const idIn = (value: unknown) => (Array.isArray(value) && typeof value[1] === "number" ? value[1] : undefined);
  if (pair) return { bos: idIn(pair.cls), eos: idIn(pair.sep) };
  const template = processors.find((step) => step.type === "TemplateProcessing");
  if (!template) return {};
  const single = (Array.isArray(template.single) ? (template.single as unknown[]) : []).map(object);
  const middle = single.findIndex((part) => part.Sequence !== undefined);
  const tokenOf = (part: JsonFields | undefined) => {
    const name = object(part?.SpecialToken).id;
    const ids = object(object(template.special_tokens)[String(name)]).ids;
    return Array.isArray(ids) && typeof ids[0] === "number" ? ids[0] : undefined;
  };
  return { bos: tokenOf(single.slice(0, middle).at(-1)), eos: tokenOf(single.slice(middle + 1)[0]) };
}

function namedTokens(config: JsonFields, vocab: Vocab): { bos?: number; eos?: number; pad?: number } {
  const find = (key: string) => {
    const value = config[key];
    const content = typeof value === "string" ? value : object(value).content;
    return typeof content === "string" ? vocab.ids.get(content) : undefined;
  };
  return { bos: find("bos_token"), eos: find("eos_token"), pad: find("pad_token") };
}

function prependsSpace(tokenizer: JsonFields): boolean {
  const metaspace = steps(tokenizer.pre_tokenizer, "pretokenizers").find((step) => step.type === "Metaspace");
  if (metaspace) return metaspace.prepend_scheme !== "never" && metaspace.add_prefix_space !== false;
  return steps(tokenizer.normalizer, "normalizers").some((step) => step.type === "Prepend");
}

/** Returns the keys of the chat templates: the default one, the named ones, and a list of the names. */
function templates({ config, chatTemplates }: TokenizerFiles): Map<string, GgufValue> {
  const given = object(config).chat_template;
  const listed = Array.isArray(given) ? given.map(object) : [{ name: "default", template: given }];
  const all = [...listed, ...Object.entries(chatTemplates ?? {}).map(([name, template]) => ({ name, template }))];
  const meta = new Map<string, GgufValue>();
  const named = new Set<string>();
  for (const { name, template } of all) {
    if (typeof name !== "string" || typeof template !== "string" || name === "") continue;
    // llama.cpp's converter replaces these characters in the same way.
    const written = name.replace(/[^a-z0-9]/giu, "_");
    if (name !== "default") named.add(written);
    const key = name === "default" ? "tokenizer.chat_template" : `tokenizer.chat_template.${written}`;
    meta.set(key, { type: "string", value: template });
  }
  if (named.size > 0) meta.set("tokenizer.chat_templates", { type: "array", of: "string", value: [...named] });
  return meta;
}

function object(value: unknown): JsonFields {
  return isObject(value) ? value : {};
}
