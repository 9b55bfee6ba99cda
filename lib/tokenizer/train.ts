// Training of byte-level BPE vocabularies, and the tokenizer.json that comes of it.
import { binding } from "../binding.ts";
import { HeddleError, invalidArgument } from "../errors.ts";
import { characterOfByte } from "./byte-alphabet.ts";
import type { TokenizerConfig } from "./config.ts";
import { finish, throwIfAborted } from "./jobs.ts";
import { describePattern, namedPatterns, type PatternName, recognisePattern } from "./patterns.ts";
import { type AddedToken, type JsonObject, limits, type TokenizerFile, unsupported } from "./tokenizer-file.ts";

export interface TrainProgress {
  phase: "read" | "merge";
  /** UTF-16 units read, or tokens made. */
  done: number;
  /** Of tokens to make; undefined while reading. */
  total: number | undefined;
}

export interface TrainOptions {
  /** Tokens in all: the special ones, 256 bytes and the merged. */
  vocabSize: number;
  /**
   * Texts of special tokens, which get the first ids. They separate documents: where the texts contain them they are not
   * learned from. The first is used as BOS and EOS unless `bosToken` or `eosToken` say otherwise. Default `<|endoftext|>`.
   */
  specialTokens?: string[];
  /** How text is split before merging: a name, or a regular expression that is one of them. Default "gpt2". */
  pattern?: PatternName | (string & {});
  /** Pairs that occur less often are not merged. Default 1. */
  minFrequency?: number;
  bosToken?: string;
  eosToken?: string;
  padToken?: string;
  unkToken?: string;
  chatTemplate?: string;
  onProgress?: (progress: TrainProgress) => void;
  signal?: AbortSignal;
}

/** UTF-16 units that go to native code in one crossing. */
const batchLength = 1 << 21;
const maxVocabSize = 1 << 20;

function checkOptions(options: TrainOptions): { specials: string[]; pattern: string } {
  if (typeof options !== "object" || options === null) throw invalidArgument("options", "an object", options);
  const specials = options.specialTokens ?? ["<|endoftext|>"];
  if (!Array.isArray(specials)) throw invalidArgument("specialTokens", "an array of strings", specials);
  for (const token of specials) {
    if (typeof token !== "string" || token === "" || token.length > limits.addedTokenLength) {
      throw invalidArgument("specialTokens", `strings of 1 to ${limits.addedTokenLength} characters`, token);
    }
  }
  if (new Set(specials).size !== specials.length) throw invalidArgument("specialTokens", "no text twice", specials);
  const { vocabSize, minFrequency = 1 } = options;
  const least = 256 + specials.length;
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > maxVocabSize) {
    const what = `a whole number from ${least} (256 bytes and ${specials.length} special tokens) to ${maxVocabSize}`;
    throw invalidArgument("vocabSize", what, vocabSize);
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1 || minFrequency > 0xffffffff) {
    throw invalidArgument("minFrequency", "a whole number from 1", minFrequency);
  }
  for (const name of ["bosToken", "eosToken", "padToken", "unkToken"] as const) {
    const token = options[name];
    if (token !== undefined && !specials.includes(token)) throw invalidArgument(name, "one of specialTokens", token);
  }
  const named = options.pattern ?? "gpt2";
  if (typeof named !== "string") throw invalidArgument("pattern", "a string", named);
  const pattern = Object.hasOwn(namedPatterns, named) ? namedPatterns[named as PatternName] : named;
  return { specials, pattern };
}

/** The trained tokenizer as the files that would be saved. Rejects with ABORTED. */
export async function trainFile(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainOptions,
): Promise<{ file: TokenizerFile; config: TokenizerConfig }> {
  const { specials, pattern } = checkOptions(options);
  if (typeof texts === "string") throw invalidArgument("texts", "an iterable of strings", texts);
  const stage = recognisePattern(pattern);
  if (!stage) throw unsupported("pattern", describePattern(pattern));
  const { signal, onProgress } = options;
  throwIfAborted(signal, "Tokenizer.train");

  const stages = Uint32Array.of(stage.kind, stage.maxDigits, Number(stage.contractions));
  const trainer = new binding.NativeTrainer(stages, specials);
  let batch: string[] = [];
  let length = 0;
  let read = 0;
  const feed = async () => {
    throwIfAborted(signal, "Tokenizer.train");
    if (batch.length === 0) return;
    await finish(trainer.feed(batch), signal);
    read += length;
    onProgress?.({ phase: "read", done: read, total: undefined });
    batch = [];
    length = 0;
  };
  for await (const text of texts) {
    if (typeof text !== "string") throw invalidArgument("texts", "strings", text);
    batch.push(text);
    length += text.length;
    if (length >= batchLength || batch.length >= 65_536) await feed();
  }
  await feed();
  if (read === 0) throw invalidArgument("texts", "some text", "none");

  const wanted = options.vocabSize - 256 - specials.length;
  const report = onProgress && ((done: number, total: number) => onProgress({ phase: "merge", done, total }));
  const merges = await finish(trainer.train(wanted, options.minFrequency ?? 1, report), signal);
  return { file: makeFile(specials, pattern, merges), config: makeConfig(specials, options) };
}

/** Ids as Hugging Face's trainer gives them: special tokens, the byte alphabet by code point, merges in their order. */
function makeFile(specials: string[], pattern: string, merged: Uint32Array): TokenizerFile {
  const bytes = Array.from({ length: 256 }, (_, byte) => characterOfByte(byte));
  const names = [...bytes]; // by the trainer's numbers
  const merges: string[] = [];
  for (let i = 0; i < merged.length; i += 3) {
    const [left, right] = [names[merged[i]!]!, names[merged[i + 1]!]!];
    merges.push(left, right);
    names[merged[i + 2]!] = left + right;
  }
  const special = new Set(specials);
  // A merged token may be spelled like a special one only if the corpus was full of its text under another split.
  const tokens = [...specials, ...bytes.sort(), ...names.slice(256).filter((name) => !special.has(name))];
  const byteLevel: JsonObject = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const split: JsonObject = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  return {
    added: specials.map(
      (content, id): AddedToken => ({
        id,
        content,
        singleWord: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      }),
    ),
    normalizer: null,
    preTokenizer:
      pattern === namedPatterns.gpt2
        ? byteLevel
        : { type: "Sequence", pretokenizers: [split, { ...byteLevel, use_regex: false }] },
    postProcessor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
    truncation: null,
    padding: null,
    model: {
      type: "BPE",
      tokens,
      ids: Uint32Array.from(tokens.keys()),
      merges,
      unknownToken: undefined,
      byteFallback: false,
      fuseUnknown: false,
      ignoreMerges: false,
    },
  };
}

function makeConfig(specials: string[], options: TrainOptions): TokenizerConfig {
  const [first] = specials;
  if (options.chatTemplate !== undefined && typeof options.chatTemplate !== "string") {
    throw new HeddleError("INVALID_ARGUMENT", "chatTemplate: expected a string");
  }
  return {
    bosToken: options.bosToken ?? first,
    eosToken: options.eosToken ?? first,
    padToken: options.padToken,
    unkToken: options.unkToken,
    eosTokenIds: [],
    chatTemplates: options.chatTemplate === undefined ? {} : { default: options.chatTemplate },
  };
}
