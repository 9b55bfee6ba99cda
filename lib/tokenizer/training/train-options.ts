// Options for training a vocabulary, with checks.
import { invalidArgument } from "../../core/errors.ts";
import { checkNames, type Names } from "../../core/unknown-options.ts";
import { limits } from "../files/tokenizer-file.ts";
import { namedPatterns, type PatternName } from "../pipeline/patterns.ts";
import { oneOf } from "../truncation.ts";

/** How far `Tokenizer.train` is. */
export interface TrainProgress {
  phase: "read" | "merge";
  /** UTF-16 units read; then tokens made, or, of a Unigram model, rounds. */
  done: number;
  /** Number of tokens to make, or approximate number of rounds; undefined while reading. */
  total: number | undefined;
}

/**
 * byteLevelBpe: GPT-2's form, which encodes anything. sentencePieceBpe: Llama 2's form, characters, others by their bytes. unigram:
 * SentencePiece's other form (Kudo 2018), the most probable cut. wordPiece: BERT's form, trained by merges as
 * Hugging Face does.
 */
export type TrainAlgorithm = "byteLevelBpe" | "sentencePieceBpe" | "unigram" | "wordPiece";

/** Options of `Tokenizer.train`. */
export interface TrainOptions {
  /** Tokens in all: the special ones, bytes, the alphabet and what is learned. */
  vocabSize: number;
  /** Default "byteLevelBpe". */
  algorithm?: TrainAlgorithm | undefined;
  /**
   * Texts of special tokens, which get the first ids. They separate documents: where the texts contain them they are not
   * learned from. Default `<|endoftext|>` (byteLevelBpe: BOS and EOS unless named otherwise); `<unk>`, `<s>`, `</s>`
   * (sentencePieceBpe, unigram); `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]` (wordPiece).
   */
  specialTokens?: string[] | undefined;
  /** byteLevelBpe: how text is split before merging, a name or a regular expression that is one of them. Default "gpt2". */
  pattern?: PatternName | (string & {}) | undefined;
  /** Pairs that occur less often are not merged. Default 1. Not of unigram. */
  minFrequency?: number | undefined;
  /**
   * Share of the texts' characters that get tokens. The rarest become bytes or unknown tokens. Default: 0.9995 (sentencePieceBpe, unigram), 1
   * (wordPiece).
   */
  characterCoverage?: number | undefined;
  /** sentencePieceBpe, unigram: 256 tokens of bytes, for what the alphabet lacks. Default true. */
  byteFallback?: boolean | undefined;
  /** sentencePieceBpe, unigram: "nfkc" folds compatible characters first. Default "none", which loses nothing. */
  normalization?: "none" | "nfkc" | undefined;
  /** wordPiece: default true, as in BERT uncased. */
  lowercase?: boolean | undefined;
  /** unigram: characters of a piece at most. Default 16. */
  maxPieceLength?: number | undefined;
  /** unigram: substrings to begin with at most. Default 1,000,000. */
  seedSize?: number | undefined;
  /** Threads; they change nothing but the time. Default: as `openDevice`, at most 8. */
  threads?: number | undefined;
  /**
   * One of specialTokens, which `encode` then puts in front of every text (`addSpecialTokens`), so that prompts begin as documents do in
   * pre-training. Without it a byteLevelBpe vocabulary is GPT-2's: its token stands between documents, and prompts begin without it.
   */
  bosToken?: string | undefined;
  /** One of specialTokens, which ends a text. */
  eosToken?: string | undefined;
  /** One of specialTokens, which fills batches. */
  padToken?: string | undefined;
  /** One of specialTokens, for what the vocabulary lacks. */
  unkToken?: string | undefined;
  /** A Jinja template, kept with the tokenizer. */
  chatTemplate?: string | undefined;
  /** Told as work goes on. */
  onProgress?: ((progress: TrainProgress) => void) | undefined;
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

/** Options with what they leave open. */
export interface CheckedOptions {
  algorithm: TrainAlgorithm;
  specials: string[];
  /** byteLevelBpe */
  pattern: string;
  byteFallback: boolean;
  coverage: number;
  minFrequency: number;
  threads: number;
}

function whole(name: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw invalidArgument(name, `a whole number from ${least} to ${most}`, value);
}

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
  if (new Set(specials).size !== specials.length) throw invalidArgument("specialTokens", "no text twice", specials);

  const isPieces = algorithm === "sentencePieceBpe" || algorithm === "unigram";
  const byteFallback = isPieces && options.byteFallback !== false;
  const bytes = algorithm === "byteLevelBpe" || byteFallback ? 256 : 0;
  const { vocabSize } = options;
  const least = bytes + specials.length + (isPieces || algorithm === "wordPiece" ? 1 : 0);
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > maxVocabSize) {
    const what = `a whole number from ${least} (${bytes} bytes and ${specials.length} special tokens) to ${maxVocabSize}`;
    throw invalidArgument("vocabSize", what, vocabSize);
  }
  whole("minFrequency", minFrequency, 1, 0xffffffff);
  whole("threads", threads, 1, 256);
  whole("maxPieceLength", options.maxPieceLength ?? 16, 1, 1024);
  whole("seedSize", options.seedSize ?? 1_000_000, 1, 1 << 26);
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
