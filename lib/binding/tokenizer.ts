// The tokenizer (native/binding/tokenizer*.cc); used through lib/tokenizer.

export interface NativeAddedToken {
  id: number;
  content: string;
  singleWord: boolean;
  lstrip: boolean;
  rstrip: boolean;
  special: boolean;
  normalized: boolean;
  /** Not matched across a barrier. */
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
 * See native/tokenizer/models/model_builder.h. Texts are joined, and their lengths in UTF-16 units are separate arrays. With a
 * `vocabulary`, these five fields are absent.
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
  /** Three numbers a stage: kind, maxDigits, contractions. */
  stages: Uint32Array;
  /** Normalizes added tokens, and the text too if `usesNormalizer`. */
  normalizer: NativeStep[];
  usesNormalizer: boolean;
  /** Instead of `stages`, prefix and marks. */
  preTokenizer: NativeStep[];
  /** For decodeKind 2. */
  decoder: NativeStep[];
  /** 0 BPE, 1 WordPiece, 2 Unigram, 3 WordLevel. */
  kind: number;
  subwordPrefix?: string;
  wordSuffix?: string;
  maxWordCharacters?: number;
  /** The scores of a Unigram model, one a token. Absent where `vocabulary` has them. */
  scores?: Float64Array | undefined;
  /** Their sums are rounded to 32 bits, one by one. */
  singlePrecision?: boolean | undefined;
  /** Ids that no text matches. */
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
  /** 0 never, 1 always, 2 unless there already, 3 the same at the start of the text only. */
  prefixRule?: number;
  /** 0 bytes, 1 byte fallback, 2 `decoder`. */
  decodeKind?: number;
}

/** A job away from the JavaScript thread. After cancel() the promise rejects with ABORTED, unless the job was done. */
export interface NativeJob<T> {
  promise: Promise<T>;
  cancel(): void;
}

/** Options of encode other than flags. */
export interface NativeEncodeExtras {
  /** Ids of special tokens whose text is recognised, where flag 2 does not say all. */
  allowed?: Uint32Array | undefined;
  /** Share of merges left out by chance, below 1, and the seed of that chance. */
  dropout?: number | undefined;
  seed?: number | undefined;
  /** For a single text: ascending UTF-16 offsets that no guarded token may span or end at. */
  barriers?: Uint32Array | undefined;
}

/** Texts that are encoded together: they are read, then run once, then their ids are taken; then it is closed, which gives its memory back. */
export interface NativeBatch {
  /** Reserves room for `units` UTF-16 units in total. */
  expect(units: number): void;
  /** The first of the strings goes on where the last text ended if it `continues` it. */
  read(strings: readonly string[], continues: boolean): void;
  /** How many ids each text has. */
  run(): NativeJob<Uint32Array>;
  /** The next of the ids of all texts, as many as there is room for; how many they are. */
  takeIds(room: Uint32Array): number;
  /** The same of the offsets of a single text. */
  takeOffsets(room: Uint32Array): number;
  close(): void;
}

/** `flags`: 1 add special tokens, 2 recognise special tokens' text, 4 offsets, 8 offsets in bytes of UTF-8, 16 no space before the text. */
export interface NativeTokenizer {
  /** Highest id + 1. */
  readonly size: number;
  /** Identifies the tables, which tokenizers with equal vocabularies share within a process. */
  readonly modelNumber: number;
  readonly output: Uint32Array;
  /** Returns the number of ids written to `output`, or a separate array if they do not fit. */
  encode(text: string, flags: number, barriers?: Uint32Array): number | Uint32Array;
  encodeWithOffsets(text: string, flags: number, barriers?: Uint32Array): [Uint32Array, Uint32Array];
  encodeWith(text: string, flags: number, extras?: NativeEncodeExtras): [Uint32Array, Uint32Array];
  /** `counts`: how many of the ids belong to each text. */
  decodeBatch(ids: Uint32Array, counts: Uint32Array, skipSpecial: boolean): NativeJob<string[]>;
  count(text: string, flags: number): number;
  decode(ids: Uint32Array, skipSpecial: boolean): string;
  /** The text that an id adds in any context, if it is always the same. */
  settledText(id: number): string | undefined;
  /**
   * Returns flags for each character of a well-formed text. 1: a guarded token may begin with its normalized form. 2: the normalizer may
   * change it. 4: a guarded token may begin with the normalized form of it and the combining characters after it. All are 0 if no guarded
   * token is matched in normalized text.
   */
  guardCharacters(text: string): Uint8Array;
  /** The index of the last id after which no text depends on those before it; how many ids there are where none is known. */
  lastReset(ids: Uint32Array): number;
  tokenBytes(id: number): Uint8Array;
}

export interface NativeDecoder {
  push(id: number): string;
  flush(): string;
  /** Nothing of the ids before changes what those to come add. */
  readonly settled: boolean;
}

export type NativeProgress = (done: number, total: number) => void;

/** One job at a time. */
export interface NativeTrainer {
  /** Reads texts for the next feed. If `continues`, the first string continues the last text. */
  read(strings: readonly string[], continues: boolean): void;
  /** Lets go what has been read and not fed. */
  forget(): void;
  feed(threads: number): NativeJob<undefined>;
  /** Left, right and token of each merge; tokens are numbered: the 256 bytes, then as made. */
  trainBytes(tokens: number, minCount: number, progress?: NativeProgress): NativeJob<Uint32Array>;
  /** Over characters: the alphabet, and merges whose tokens are numbered: the alphabet, then as made. */
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
  /** A Unigram model: pieces and their scores, best first. */
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

/** A file's vocabulary, kept by native code. */
export interface NativeJsonVocabulary {
  /** A tokenizer.json without its model.vocab and model.merges. */
  readonly rest: string;
  /** How many tokens there are. */
  readonly size: number;
  /** The text of the token at a place of the file. */
  token(place: number): string | undefined;
  /** The id of a token. */
  find(token: string): number | undefined;
  tokens(): string[];
  /** One a token. */
  ids(): Uint32Array;
  /** Left and right parts in turn. */
  merges(): string[];
  /** One a token, or none. */
  scores(): Float64Array;
  /** The same for readCompiledVocabulary. Undefined where merges leave a prefix out. */
  compile(source: Uint8Array): Uint8Array | undefined;
}

/** Strings in native memory. Lists that a vocabulary is being made of cannot be added to. */
export interface NativeStringList {
  readonly length: number;
  /** Adds strings as GGUF has them, `most` at most, up to the first that the bytes do not hold in full. Returns how many bytes were taken. */
  read(bytes: Uint8Array, most: number): number;
  /** Adds strings that are joined, with their lengths in UTF-16 units. */
  add(text: string, lengths: Uint32Array): void;
  strings(): string[];
}

/** A vocabulary whose ids are the tokens' places. */
export interface NativeLists {
  tokens: NativeStringList;
  /** "left right" */
  merges?: NativeStringList | undefined;
  /** SentencePiece's, one a token. */
  types: Uint8Array;
  /** One a token. */
  scores?: Float32Array | Float64Array | undefined;
  /** The lists are empty afterwards: their memory is needed. */
  takes?: boolean;
  /** Merges follow from the scores, as SentencePiece's BPE has it. */
  mergesByScore?: boolean;
  /** The tokens are WordPiece's as GGUF has them, with a mark before those that begin a word. */
  wordMarks?: boolean;
  /** The names of the tokens and the merges in messages. */
  where: string;
  mergesWhere?: string;
}

export interface TokenizerBinding {
  /** Zeros to read a large file into: memory that the system has back once they are collected, which malloc's it has not. */
  bytesForFile(size: number): Uint8Array;
  /** Returns undefined for any file that is not plainly a tokenizer.json with a vocabulary. */
  readJsonVocabulary(bytes: Uint8Array): NativeJsonVocabulary | undefined;
  /** The same away from the event loop. Nobody may change the bytes meanwhile. */
  startJsonVocabulary(bytes: Uint8Array): NativeJob<NativeJsonVocabulary | undefined>;
  makeListedVocabulary(lists: NativeLists): NativeJsonVocabulary;
  startListedVocabulary(lists: NativeLists): NativeJob<NativeJsonVocabulary>;
  NativeStringList: new () => NativeStringList;
  /** Undefined for all but what `compile` made of this very source. */
  readCompiledVocabulary(bytes: Uint8Array, source: Uint8Array): NativeJsonVocabulary | undefined;
  NativeTrainer: new (
    /** Three numbers a stage, or steps. */
    rule: Uint32Array | { normalizer: NativeStep[]; preTokenizer: NativeStep[] },
    specialTokens: string[],
  ) => NativeTrainer;
  NativeTokenizer: new (spec: NativeTokenizerSpec) => NativeTokenizer;
  /** The same away from the event loop. */
  startTokenizer(spec: NativeTokenizerSpec): NativeJob<NativeTokenizer>;
  /** With flag 4 or 8, and with barriers, of a single text alone. */
  NativeBatch: new (
    tokenizer: NativeTokenizer,
    flags: number,
    extras?: NativeEncodeExtras,
  ) => NativeBatch;
  /** `after`: ids whose text has been shown already, or a decoder to go on from. */
  NativeDecoder: new (
    tokenizer: NativeTokenizer,
    skipSpecial: boolean,
    after: Uint32Array | NativeDecoder | undefined,
  ) => NativeDecoder;
}
