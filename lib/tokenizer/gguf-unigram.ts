// SentencePiece's Unigram in GGUF files (tokenizer.ggml.model "t5"): XLM-RoBERTa's kin among the encoders.
import { addedTokens, prefix, scoresOf, template, type Vocabulary, type VocabularyKeys } from "./gguf-vocabulary.ts";
import { TokenType } from "./merges.ts";
import { unigramFile } from "./sentencepiece.ts";
import { invalidFile, limits, type TokenizerFile } from "./tokenizer-file.ts";

/** llama.cpp's ids where a file does not say them: T5's. */
const usual = { eos_token_id: 1, unknown_token_id: 2 } as const;

/** What llama.cpp takes for granted: an end, no beginning. @returns the vocabulary with it */
export function unigramVocabulary(reader: VocabularyKeys, vocabulary: Vocabulary): Vocabulary {
  const count = vocabulary.tokens.length;
  const addEos = reader.boolean("add_eos_token") ?? true;
  const eos = vocabulary.eos ?? (usual.eos_token_id < count ? usual.eos_token_id : undefined);
  return { ...vocabulary, eos, addBos: reader.boolean("add_bos_token") ?? false, addEos };
}

/** @param vocabulary of unigramVocabulary */
export function unigram(reader: VocabularyKeys, vocabulary: Vocabulary): TokenizerFile {
  const { tokens, types } = vocabulary;
  const scores = scoresOf(reader, tokens.length);
  const infinite = scores.find((score) => !Number.isFinite(score));
  if (infinite !== undefined) throw invalidFile(`${prefix}scores`, "finite numbers", infinite);
  const said = reader.id("unknown_token_id", tokens.length) ?? types.indexOf(TokenType.unknown);
  const added = addedTokens(vocabulary).map(({ id, content, special, normalized }) => ({
    id,
    content,
    special,
    normalized,
  }));
  return unigramFile({
    tokens: tokens.map((token) => token.toWellFormed()),
    types,
    scores,
    byteFallback: types.includes(TokenType.byte as never),
    unknown: said < 0 && usual.unknown_token_id < tokens.length ? usual.unknown_token_id : said,
    charsmap: charsmapOf(reader),
    dummyPrefix: reader.boolean("add_space_prefix") ?? false,
    removesSpaces: reader.boolean("remove_extra_whitespaces") ?? false,
    added,
    around: template(vocabulary),
  });
}

/** The table of mapped characters, in bytes of either kind. */
function charsmapOf(reader: VocabularyKeys): Uint8Array {
  const value = reader.value("precompiled_charsmap");
  if (value === undefined) return new Uint8Array(0);
  const isByte = (v: unknown) => typeof v === "number" && Number.isInteger(v) && v >= -128 && v < 256;
  const isBytes = value instanceof Uint8Array || value instanceof Int8Array;
  if (!isBytes && !(Array.isArray(value) && value.every(isByte)))
    throw invalidFile(`${prefix}precompiled_charsmap`, "an array of bytes", value);
  // In base64, as tokenizer.json has it, it is a third longer.
  const most = (limits.charsmapLength * 3) / 4;
  if (value.length > most) throw invalidFile(`${prefix}precompiled_charsmap`, `at most ${most} bytes`, value.length);
  return Uint8Array.from(value as ArrayLike<number>);
}
