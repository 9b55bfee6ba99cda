// Reads Unigram models of SentencePiece from GGUF files (tokenizer.ggml.model "t5"), which XLM-RoBERTa and related encoders use.
import { addedTokens, prefix, scoresOf, template, type Vocabulary, type VocabularyKeys } from "./gguf-vocabulary.ts";
import { unigramFile } from "./sentencepiece.ts";
import { invalidFile, limits, type TokenizerFile, TokenType } from "./tokenizer-file.ts";

/** llama.cpp's default ids for files that lack these keys: the ids of T5. */
const usual = { eos_token_id: 1, unknown_token_id: 2 } as const;

/** Adds llama.cpp's defaults: EOS, but no BOS. @returns the completed vocabulary */
export function unigramVocabulary(reader: VocabularyKeys, vocabulary: Vocabulary): Vocabulary {
  const addEos = reader.boolean("add_eos_token") ?? true;
  const eos = vocabulary.eos ?? (usual.eos_token_id < vocabulary.native.size ? usual.eos_token_id : undefined);
  return { ...vocabulary, eos, addBos: reader.boolean("add_bos_token") ?? false, addEos };
}

/** Returns the scores, which must be finite. @throws HeddleError INVALID_FILE */
export function unigramScores(reader: VocabularyKeys, count: number): Float32Array | Float64Array {
  const scores = scoresOf(reader, count);
  for (const infinite of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    if (scores.includes(infinite)) throw invalidFile(`${prefix}scores`, "finite numbers", infinite);
  return scores;
}

/** Reads the tokenizer. @param vocabulary the result of unigramVocabulary */
export function unigram(reader: VocabularyKeys, vocabulary: Vocabulary): TokenizerFile {
  const { native, types } = vocabulary;
  const declared = reader.id("unknown_token_id", native.size) ?? types.indexOf(TokenType.unknown);
  const added = addedTokens(vocabulary).map(({ id, content, special, normalized }) => ({
    id,
    content,
    special,
    normalized,
  }));
  return unigramFile({
    native,
    types,
    byteFallback: types.includes(TokenType.byte),
    unknown: declared < 0 && usual.unknown_token_id < native.size ? usual.unknown_token_id : declared,
    charsmap: charsmapOf(reader),
    dummyPrefix: reader.boolean("add_space_prefix") ?? false,
    removesSpaces: reader.boolean("remove_extra_whitespaces") ?? false,
    added,
    around: template(vocabulary),
  });
}

/** Returns SentencePiece's normalization table, which may be stored as signed or unsigned bytes. */
function charsmapOf(reader: VocabularyKeys): Uint8Array {
  const value = reader.value("precompiled_charsmap");
  if (value === undefined) return new Uint8Array(0);
  const isByte = (v: unknown) => typeof v === "number" && Number.isInteger(v) && v >= -128 && v < 256;
  const isBytes = value instanceof Uint8Array || value instanceof Int8Array;
  if (!isBytes && !(Array.isArray(value) && value.every(isByte)))
    throw invalidFile(`${prefix}precompiled_charsmap`, "an array of bytes", value);
  // tokenizer.json stores it in base64, which is a third longer.
  const most = (limits.charsmapLength * 3) / 4;
  if (value.length > most) throw invalidFile(`${prefix}precompiled_charsmap`, `at most ${most} bytes`, value.length);
  return Uint8Array.from(value as ArrayLike<number>);
}
