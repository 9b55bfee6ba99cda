// Types of the native tokenizer (native/binding/tokenizer). lib/tokenizer uses them.

interface NativeAddedToken {
  id: number;
  content: string;
  singleWord: boolean;
  lstrip: boolean;
  rstrip: boolean;
  special: boolean;
  normalized: boolean;
  /** Whether a match of the token must not span or end at one of the encode call's `barriers`. */
  guarded: boolean;
}

/** A normalizer, pre-tokenizer or decoder: see native/tokenizer/step_spec.h. */
export interface NativeStep {
  type: string;
  pattern?: string;
  isRegex?: boolean;
  content?: string;
  bytes?: Uint8Array;
  left?: boolean;
  right?: boolean;
  clean?: boolean;
  chinese?: boolean;
  accents?: boolean;
  lower?: boolean;
  invert?: boolean;
  each?: boolean;
  prefix?: boolean;
  cuts?: boolean;
  number?: number;
  maxDigits?: number;
  contractions?: boolean;
  longest?: boolean;
}

/**
 * See native/tokenizer/models/model_builder.h. `tokens` and `merges` are joined strings; their lengths in UTF-16 units are in separate
 * arrays. With a `vocabulary`, the fields from `tokens` to `mergeRanks` are absent.
 */
export interface NativeTokenizerSpec {
  vocabulary?: NativeJsonVocabulary | undefined;
  tokens?: string | undefined;
  tokenLengths?: Uint32Array | undefined;
  tokenIds?: Uint32Array | undefined;
  merges?: string | undefined;
  mergeLengths?: Uint32Array | undefined;
  mergeRanks?: Uint32Array | undefined;
  added: NativeAddedToken[];
  /** Three numbers per stage: kind, maxDigits, contractions. */
  stages: Uint32Array;
  /** Normalizes added tokens, and the text too if `usesNormalizer`. */
  normalizer: NativeStep[];
  usesNormalizer: boolean;
  /** Steps that replace `stages`, `prefix` and `spacesToMarks`. */
  preTokenizer: NativeStep[];
  /** The steps of decodeKind 2. */
  decoder: NativeStep[];
  /** 0 BPE, 1 WordPiece, 2 Unigram, 3 WordLevel. */
  kind: number;
  subwordPrefix?: string;
  wordSuffix?: string;
  maxWordCharacters?: number;
  /** The scores of a Unigram model, one per token. Absent if `vocabulary` has them. */
  scores?: Float64Array | undefined;
  /** Whether sums of scores are rounded to 32 bits after each addition. */
  singlePrecision?: boolean | undefined;
  /** Ids that the model never produces from text. Added tokens are still matched. */
  hidden?: Uint32Array;
  beginIds: Uint32Array;
  endIds: Uint32Array;
  byteLevel: boolean;
  ignoreMerges: boolean;
  byteFallback: boolean;
  fuseUnknown: boolean;
  unknown?: number;
  needsNfc?: boolean;
  spacesToMarks?: boolean;
  stripFirstSpace?: boolean;
  wholeTextIsWord?: boolean;
  prefix?: string;
  /** When the prefix is added. 0: never. 1: always. 2: unless the text begins with it. 3: as 2, but at the start of the text only. */
  prefixRule?: number;
  /** How ids become text. 0: as bytes. 1: with byte fallback. 2: by the steps of `decoder`. */
  decodeKind?: number;
}

/** A job off the JavaScript thread. After cancel() the promise rejects with ABORTED, unless the job had finished. */
export interface NativeJob<T> {
  promise: Promise<T>;
  cancel(): void;
}

/** Options of encode, except the flags. */
export interface NativeEncodeExtras {
  /** Ids of special tokens that are recognized in the text. Flag 2 recognizes all of them. */
  allowed?: Uint32Array | undefined;
  /** BPE dropout: the probability with which a merge is skipped, below 1, and its seed. */
  dropout?: number | undefined;
  seed?: number | undefined;
  /** Encoding stops soon after this number of ids. Default: no limit. */
  most?: number | undefined;
  /** For a single text: ascending UTF-16 offsets that no guarded token may span or end at. */
  barriers?: Uint32Array | undefined;
}

/** A batch of texts to encode. Call `read` for all texts, then `run` once, then take the ids, then `close`, which frees its memory. */
export interface NativeBatch {
  /** Reserves room for `units` UTF-16 units in total. */
  expect(units: number): void;
  /** Adds texts. If `continues`, the first string continues the last text read. */
  read(strings: readonly string[], continues: boolean): void;
  /** Encodes the texts. Resolves with the number of ids of each text. */
  run(): NativeJob<Uint32Array>;
  /** Fills `room` with the next ids of the batch and returns how many it wrote. */
  takeIds(room: Uint32Array): number;
  /** Fills `room` with the next offsets of a single text and returns how many it wrote. */
  takeOffsets(room: Uint32Array): number;
  close(): void;
}

/**
 * A native tokenizer. `flags` is a sum. 1: add special tokens. 2: recognize special tokens in the text. 4: return offsets. 8: return offsets
 * in UTF-8 bytes. 16: add no space before the text.
 */
export interface NativeTokenizer {
  /** Highest id + 1. */
  readonly size: number;
  /** Identifies the model's tables. Tokenizers with equal vocabularies share them within a process. */
  readonly modelNumber: number;
  readonly output: Uint32Array;
  /** Returns the number of ids written to `output`, or a separate array if they do not fit. */
  encode(text: string, flags: number, barriers?: Uint32Array): number | Uint32Array;
  encodeWithOffsets(text: string, flags: number, barriers?: Uint32Array): [Uint32Array, Uint32Array];
  encodeWith(text: string, flags: number, extras?: NativeEncodeExtras): [Uint32Array, Uint32Array];
  /** Decodes several texts whose ids are joined. `counts` has the number of ids of each text. */
  decodeBatch(ids: Uint32Array, counts: Uint32Array, skipSpecial: boolean): NativeJob<string[]>;
  count(text: string, flags: number): number;
  decode(ids: Uint32Array, skipSpecial: boolean): string;
  /** Returns the text that an id adds, if it is the same in every context. */
  settledText(id: number): string | undefined;
  /**
   * Returns flags for each character of a well-formed text. 1: a guarded token may begin with the character's normalized form. 2: the
   * normalizer may change the character. 4: a guarded token may begin with the normalized form of the character and the combining
   * characters after it. All are 0 if no guarded token is matched in normalized text.
   */
  guardCharacters(text: string): Uint8Array;
  /** Returns the index of the last id after which text does not depend on earlier ids, or the number of ids if it is unknown. */
  lastReset(ids: Uint32Array): number;
  tokenBytes(id: number): Uint8Array;
}

/** A streaming decoder: see Tokenizer.decoder. */
export interface NativeDecoder {
  push(id: number): string;
  flush(): string;
  /** Whether the text of later ids is independent of the ids pushed so far. */
  readonly settled: boolean;
}

type NativeProgress = (done: number, total: number) => void;

/** Collects texts and trains a tokenizer. It runs one job at a time. */
export interface NativeTrainer {
  /** Reads texts for the next feed. If `continues`, the first string continues the last text. */
  read(strings: readonly string[], continues: boolean): void;
  /** Drops the texts that were read but not fed. */
  forget(): void;
  feed(threads: number): NativeJob<undefined>;
  /**
   * Trains byte-level BPE. Resolves with left, right and new token of each merge. Tokens 0 to 255 are the bytes; new tokens are numbered
   * in the order of the merges.
   */
  trainBytes(tokens: number, minCount: number, progress?: NativeProgress): NativeJob<Uint32Array>;
  /**
   * Trains character-level BPE. Resolves with the alphabet, and with merges as in trainBytes. Token numbers below the alphabet's length are
   * its entries, and new tokens follow.
   */
  trainCharacters(
    options: {
      tokens: number;
      minCount: number;
      coverage?: number | undefined;
      alphabetLimit?: number | undefined;
      subwordPrefix?: string | undefined;
    },
    progress?: NativeProgress,
  ): NativeJob<[string[], Uint32Array]>;
  /** Trains a Unigram model. Resolves with the pieces and their scores, best first. */
  trainPieces(
    options: {
      tokens: number;
      seeds: number;
      maxPieceLength: number;
      shrinkingFactor: number;
      subIterations: number;
      threads: number;
      coverage?: number | undefined;
    },
    progress?: NativeProgress,
  ): NativeJob<[string[], Float64Array]>;
}

/** A file's vocabulary in native memory. */
export interface NativeJsonVocabulary {
  /** The text of the tokenizer.json without its model.vocab and model.merges. */
  readonly rest: string;
  /** The number of tokens. */
  readonly size: number;
  /** Returns the text of the token at an index, in the file's order. */
  token(place: number): string | undefined;
  /** Returns the id of a token's text. */
  find(token: string): number | undefined;
  /** Returns the ids of several tokens, with holes for those that are not in the vocabulary. */
  findAll(tokens: readonly string[]): (number | undefined)[];
  tokens(): string[];
  /** Returns the ids, one per token in the file's order. */
  ids(): Uint32Array;
  /** Returns the merges as alternating left and right parts. */
  merges(): string[];
  /** Returns the scores, one per token; empty if the file has none. */
  scores(): Float64Array;
  /**
   * Serializes the vocabulary for readCompiledVocabulary. Returns undefined if a merge refers to a missing token, as in vocabularies whose
   * merges omit a prefix.
   */
  compile(source: Uint8Array): Uint8Array | undefined;
}

/** Strings in native memory. While a vocabulary is being made from a list, the list accepts no strings. */
export interface NativeStringList {
  readonly length: number;
  /**
   * Adds at most `most` strings in GGUF's format, and stops before a string that the bytes do not hold completely. Returns the number of
   * bytes consumed.
   */
  read(bytes: Uint8Array, most: number): number;
  /** Adds joined strings, given their lengths in UTF-16 units. */
  add(text: string, lengths: Uint32Array): void;
  strings(): string[];
}

/** A vocabulary given as lists. A token's id is its index. */
export interface NativeLists {
  tokens: NativeStringList;
  /** Merges as "left right". */
  merges?: NativeStringList | undefined;
  /** SentencePiece token types, one per token. */
  types: Uint8Array;
  /** Scores, one per token. */
  scores?: Float32Array | Float64Array | undefined;
  /** Whether the lists are emptied to free their memory. */
  takes?: boolean;
  /** Whether merges are derived from the scores, as in SentencePiece's BPE. */
  mergesByScore?: boolean;
  /** Whether the tokens are WordPiece tokens in GGUF's form, which marks the tokens that begin a word. */
  wordMarks?: boolean;
  /** What error messages call the tokens. `mergesWhere` is what they call the merges. */
  where: string;
  mergesWhere?: string;
}

/** The addon's functions for tokenizers. */
export interface TokenizerBinding {
  /**
   * Returns zeroed memory to read a large file into. Unlike malloc's memory, it goes back to the operating system when
   * it is garbage-collected.
   */
  bytesForFile(size: number): Uint8Array;
  /** Detaches the array's buffer, which gives its memory back before the garbage collector would. */
  releaseBytes(bytes: Uint8Array): void;
  /** Reads a vocabulary. Returns undefined unless the bytes are clearly a tokenizer.json with a vocabulary. */
  readJsonVocabulary(bytes: Uint8Array): NativeJsonVocabulary | undefined;
  /** Like readJsonVocabulary, but off the event loop. The bytes must not change until the promise settles. */
  startJsonVocabulary(bytes: Uint8Array): NativeJob<NativeJsonVocabulary | undefined>;
  makeListedVocabulary(lists: NativeLists): NativeJsonVocabulary;
  startListedVocabulary(lists: NativeLists): NativeJob<NativeJsonVocabulary>;
  NativeStringList: new () => NativeStringList;
  /** Reads a vocabulary that `compile` serialized for the same source. Returns undefined for other bytes. */
  readCompiledVocabulary(bytes: Uint8Array, source: Uint8Array): NativeJsonVocabulary | undefined;
  NativeTrainer: new (
    /** Pre-tokenizer stages (three numbers each, as in NativeTokenizerSpec), or steps. */
    rule: Uint32Array | { normalizer: NativeStep[]; preTokenizer: NativeStep[] },
    specialTokens: string[],
  ) => NativeTrainer;
  NativeTokenizer: new (spec: NativeTokenizerSpec) => NativeTokenizer;
  /** Builds a NativeTokenizer off the event loop. */
  startTokenizer(spec: NativeTokenizerSpec): NativeJob<NativeTokenizer>;
  /** A batch takes only one text if it has flag 4 or 8, or barriers. */
  NativeBatch: new (
    tokenizer: NativeTokenizer,
    flags: number,
    extras?: NativeEncodeExtras,
  ) => NativeBatch;
  /** `after`: ids whose text was already returned, or a decoder whose state to copy. */
  NativeDecoder: new (
    tokenizer: NativeTokenizer,
    skipSpecial: boolean,
    after: Uint32Array | NativeDecoder | undefined,
  ) => NativeDecoder;
}
