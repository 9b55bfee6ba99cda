// Reads and writes BERT's WordPiece in GGUF files (tokenizer.ggml.model "bert"). GGUF marks the first piece of a word with "▁". Hugging
// Face's files mark the other pieces with "##".
import type { JsonObject } from "../../io/json.ts";
import { templateAround } from "../pipeline/template-processor.ts";
import { addedTokens, prefix, type Vocabulary, type VocabularyKeys } from "./gguf-vocabulary.ts";
import { askedFor, unread } from "./model-file.ts";
import { invalidFile, type TokenizerFile, TokenType } from "./tokenizer-file.ts";

const wordMark = "▁";
const subwordPrefix = "##";
/** Maximum length of a word, as in BERT: longer words are unknown. llama.cpp has no such limit. */
const MAX_WORD = 100;

/** llama.cpp's default ids for files that lack these keys: the ids of bert-base-uncased. */
const usual = { cls_token_id: 101, seperator_token_id: 102, unknown_token_id: 100 } as const;

/** Converts a token to GGUF's form, like llama.cpp's converter. */
export function wordPieceToGguf(token: string, type: number): string {
  if (type === TokenType.control || type === TokenType.unknown) return token;
  return token.startsWith(subwordPrefix) ? token.slice(subwordPrefix.length) : wordMark + token;
}

interface WordPieceIds {
  cls: number;
  sep: number;
  unknown: number;
}

/** Returns the ids of the special tokens around a text and of the unknown token. @throws HeddleError INVALID_FILE */
export function wordPieceIds(reader: VocabularyKeys, count: number): WordPieceIds {
  const idOf = (name: keyof typeof usual, other?: string) => {
    const id = reader.id(name, count) ?? (other === undefined ? undefined : reader.id(other, count)) ?? usual[name];
    if (id < count) return id;
    throw invalidFile(prefix + name, `an id below ${count}`, id);
  };
  // "seperator" is GGUF's spelling.
  return {
    cls: idOf("cls_token_id", "bos_token_id"),
    sep: idOf("seperator_token_id", "eos_token_id"),
    unknown: idOf("unknown_token_id"),
  };
}

/** Returns the tokens' types. Tokens that the file's keys name are special, whatever their given type. */
export function wordPieceTypes(reader: VocabularyKeys, given: Uint8Array, ids: WordPieceIds): Uint8Array {
  const types = Uint8Array.from(given);
  const count = types.length;
  const [pad, mask] = [reader.id("padding_token_id", count), reader.id("mask_token_id", count)];
  for (const id of [ids.cls, ids.sep, ids.unknown, pad, mask]) if (id !== undefined) types[id] = TokenType.control;
  return types;
}

/** Returns the vocabulary without BOS and EOS, because WordPiece's own template adds [CLS] and [SEP]. */
export function wordPieceVocabulary(vocabulary: Vocabulary): Vocabulary {
  return { ...vocabulary, bos: undefined, eos: undefined, addBos: false, addEos: false };
}

/** Returns the template [CLS] A [SEP], and for pairs [CLS] A [SEP] B [SEP], in which B has token type 1. */
function around({ native }: Vocabulary, { cls, sep }: WordPieceIds): JsonObject {
  const special = (id: number) => [{ name: native.token(id)!, id }];
  return templateAround(special(cls), special(sep), { between: [] });
}

/** Reads the tokenizer. @param vocabulary the result of wordPieceVocabulary */
export function wordPiece(reader: VocabularyKeys, vocabulary: Vocabulary, ids: WordPieceIds): TokenizerFile {
  const { native } = vocabulary;
  const lowercase = reader.boolean("normalizer.lowercase") ?? true;
  return {
    added: addedTokens(vocabulary),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: reader.boolean("normalizer.strip_accents") ?? null,
      lowercase,
    },
    preTokenizer: { type: "BertPreTokenizer" },
    postProcessor: around(vocabulary, ids),
    decoder: { type: "WordPiece", prefix: subwordPrefix, cleanup: true },
    truncation: null,
    padding: null,
    model: askedFor(native, {
      type: "WordPiece",
      ...unread,
      unknownToken: native.token(ids.unknown),
      unknownId: ids.unknown,
      byteFallback: false,
      fuseUnknown: false,
      ignoreMerges: false,
      subwordPrefix,
      maxWordCharacters: MAX_WORD,
    }),
  };
}
