// Options for training a vocabulary, and their checks.
import { invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { checkWhole } from "../../core/option-values.ts";
import { checkNames, type Names } from "../../core/unknown-options.ts";
import { byteTokenNames } from "../byte-alphabet.ts";
import { limits } from "../files/tokenizer-file.ts";
import { namedPatterns, type PatternName } from "../pipeline/patterns.ts";
import { oneOf } from "../truncation.ts";

/** The progress of `Tokenizer.train`. */
export interface TrainProgress {
  /** What is going on: reading texts and counting words, or learning tokens. */
  phase: "read" | "merge";
  /** Number of UTF-16 units read in phase "read". In phase "merge", the number of tokens made, or of finished rounds for unigram. */
  done: number;
  /** The final value of `done`, approximate for unigram; undefined in phase "read". */
  total: number | undefined;
}

/**
 * The kind of vocabulary to train. `byteLevelBpe`: BPE over bytes, as in GPT-2, which can encode any text. `sentencePieceBpe`: BPE over
 * characters, with byte tokens for characters outside the alphabet, as in Llama 2. `unigram`: SentencePiece's Unigram model, which chooses
 * the most probable segmentation (Kudo 2018). `wordPiece`: the model of BERT, trained by merges as in Hugging Face's library.
 */
export type TrainAlgorithm = "byteLevelBpe" | "sentencePieceBpe" | "unigram" | "wordPiece";

/** Options of `Tokenizer.train`. */
export interface TrainOptions {
  /** Total number of tokens: special tokens, bytes, the alphabet, and learned tokens. */
  vocabSize: number;
  /** The kind of vocabulary. Default "byteLevelBpe". */
  algorithm?: TrainAlgorithm | undefined;
  /**
   * Special tokens, which get the first ids. In the texts they separate documents, and no token is learned from them. Default:
   * `<|endoftext|>` (byteLevelBpe); `<unk>`, `<s>`, `</s>` (sentencePieceBpe, unigram); `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`
   * (wordPiece). For byteLevelBpe the first one is both BOS and EOS, unless `bosToken` or `eosToken` is given.
   */
  specialTokens?: string[] | undefined;
  /** byteLevelBpe: the pattern that splits text before merging: a name, or one of the named regular expressions. Default "gpt2". */
  pattern?: PatternName | (string & {}) | undefined;
  /** Minimum number of occurrences of a pair to be merged. Default 1. unigram ignores it. */
  minFrequency?: number | undefined;
  /**
   * Share of the texts' characters that get tokens. The rarest characters become bytes or unknown tokens. Default:
   * 0.9995 (sentencePieceBpe, unigram), 1 (wordPiece).
   */
  characterCoverage?: number | undefined;
  /** sentencePieceBpe, unigram: whether the vocabulary has 256 byte tokens for characters outside the alphabet. Default true. */
  byteFallback?: boolean | undefined;
  /** sentencePieceBpe, unigram: "nfkc" normalizes compatible characters first. Default "none", which is lossless. */
  normalization?: "none" | "nfkc" | undefined;
  /** wordPiece: whether to convert text to lower case, as BERT uncased does. Default true. */
  lowercase?: boolean | undefined;
  /** unigram: maximum length of a piece in characters. Default 16. */
  maxPieceLength?: number | undefined;
  /** unigram: maximum number of substrings to start from. Default 1,000,000. */
  seedSize?: number | undefined;
  /** Number of threads, which does not affect the result. Default: the number of CPUs that the process may use, at most 8. */
  threads?: number | undefined;
  /**
   * One of specialTokens, which `encode` adds before every text (`addSpecialTokens`). Prompts then begin like documents in pre-training.
   * Without this option, a byteLevelBpe tokenizer behaves like GPT-2's: `<|endoftext|>` separates documents, but does not begin prompts.
   */
  bosToken?: string | undefined;
  /** One of specialTokens, which ends a text. */
  eosToken?: string | undefined;
  /** One of specialTokens, for padding. */
  padToken?: string | undefined;
  /** One of specialTokens, for text that the vocabulary cannot encode. */
  unkToken?: string | undefined;
  /** A Jinja chat template, which is stored with the tokenizer. */
  chatTemplate?: string | undefined;
  /** Called regularly. */
  onProgress?: ((progress: TrainProgress) => void) | undefined;
  /** Stops the training, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
}

const defaults: Record<TrainAlgorithm, { specials: string[]; coverage: number }> = {
  byteLevelBpe: { specials: ["<|endoftext|>"], coverage: 1 },
  sentencePieceBpe: { specials: ["<unk>", "<s>", "</s>"], coverage: 0.9995 },
  unigram: { specials: ["<unk>", "<s>", "</s>"], coverage: 0.9995 },
  wordPiece: { specials: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], coverage: 1 },
};

const NAMES: Names<TrainOptions> = {
  vocabSize: true,
  algorithm: true,
  specialTokens: true,
  pattern: true,
  minFrequency: true,
  characterCoverage: true,
  byteFallback: true,
  normalization: true,
  lowercase: true,
  maxPieceLength: true,
  seedSize: true,
  threads: true,
  bosToken: true,
  eosToken: true,
  padToken: true,
  unkToken: true,
  chatTemplate: true,
  onProgress: true,
  signal: true,
};

const maxVocabSize = 1 << 20;

/** Checked options with defaults. */
export interface CheckedOptions {
  algorithm: TrainAlgorithm;
  specials: string[];
  /** The regular expression that splits text, for byteLevelBpe. */
  pattern: string;
  byteFallback: boolean;
  coverage: number;
  minFrequency: number;
  threads: number;
}

/** Checks the options of training, and adds the defaults. @throws HeddleError INVALID_ARGUMENT */
export function checkTrainOptions(options: TrainOptions, processors: number): CheckedOptions {
  checkNames(options, NAMES);
  const { algorithm = "byteLevelBpe", minFrequency = 1, threads = Math.min(8, processors) } = options;
  oneOf("algorithm", algorithm, Object.keys(defaults));
  const specials = options.specialTokens ?? defaults[algorithm].specials;
  if (!Array.isArray(specials)) throw invalidArgument("specialTokens", "an array of strings", specials);
  for (const token of specials) {
    if (typeof token !== "string" || token === "" || token.length > limits.addedTokenLength) {
      throw invalidArgument("specialTokens", `strings of 1 to ${limits.addedTokenLength} characters`, token);
    }
  }
  for (const token of specials)
    if (!token.isWellFormed()) throw invalidArgument("specialTokens", "strings of well-formed Unicode", token);
  if (new Set(specials).size !== specials.length) throw invalidArgument("specialTokens", "distinct texts", specials);

  const isPieces = algorithm === "sentencePieceBpe" || algorithm === "unigram";
  const byteFallback = isPieces && options.byteFallback !== false;
  const byteName = byteFallback ? specials.find((token) => byteTokenNames.includes(token)) : undefined;
  if (byteName !== undefined)
    throw invalidArgument("specialTokens", "no names of byte tokens, which byteFallback adds", byteName);
  const bytes = algorithm === "byteLevelBpe" || byteFallback ? 256 : 0;
  const { vocabSize } = options;
  // These algorithms also need at least one character in the alphabet.
  const least = bytes + specials.length + (isPieces || algorithm === "wordPiece" ? 1 : 0);
  if (!isWhole(vocabSize, least, maxVocabSize)) {
    const what = `a whole number from ${least} (${bytes} bytes and ${specials.length} special tokens) to ${maxVocabSize}`;
    throw invalidArgument("vocabSize", what, vocabSize);
  }
  checkWhole("minFrequency", minFrequency, 1, 0xffffffff);
  checkWhole("threads", threads, 1, 256);
  checkWhole("maxPieceLength", options.maxPieceLength ?? 16, 1, 1024);
  checkWhole("seedSize", options.seedSize ?? 1_000_000, 1, 1 << 26);
  const coverage = options.characterCoverage ?? defaults[algorithm].coverage;
  if (!(typeof coverage === "number" && coverage > 0 && coverage <= 1)) {
    throw invalidArgument("characterCoverage", "a number above 0, at most 1", coverage);
  }
  oneOf("normalization", options.normalization, ["none", "nfkc"]);
  for (const name of ["bosToken", "eosToken", "padToken", "unkToken"] as const) {
    const token = options[name];
    if (token !== undefined && !specials.includes(token)) throw invalidArgument(name, "one of specialTokens", token);
  }
  const { chatTemplate } = options;
  if (chatTemplate !== undefined && typeof chatTemplate !== "string") {
    throw invalidArgument("chatTemplate", "a string", chatTemplate);
  }
  const named = options.pattern ?? "gpt2";
  if (typeof named !== "string") throw invalidArgument("pattern", "a string", named);
  const pattern = Object.hasOwn(namedPatterns, named) ? namedPatterns[named as PatternName] : named;
  return { algorithm, specials, pattern, byteFallback, coverage, minFrequency, threads };
}
