// Trains vocabularies. Texts are passed to native code one after another, without blocking the event loop. Only counts of distinct words
// are kept.
import { binding } from "../../binding/index.ts";
import type { NativeTrainer } from "../../binding/tokenizer.ts";
import { describe, HeddleError, invalidArgument, throwIfAborted } from "../../core/errors.ts";
import { isIterable } from "../../core/is-iterable.ts";
import { inSlices } from "../../core/slices.ts";
import { untilAborted } from "../../core/until-aborted.ts";
import { finish } from "../../io/native-jobs.ts";
import type { TokenizerConfig } from "../files/config.ts";
import { flatten, type TokenizerFile, type TokenizerModel, unsupported } from "../files/tokenizer-file.ts";
import { readNormalizers } from "../pipeline/normalizers.ts";
import { recognizePattern } from "../pipeline/patterns.ts";
import { readPreTokenizers } from "../pipeline/pre-tokenizers.ts";
import { given } from "../text-transfer.ts";
import { type CheckedOptions, checkTrainOptions, type TrainOptions } from "./train-options.ts";
import {
  byteLevelModel,
  formOf,
  makeFile,
  sentencePieceModel,
  trainedConfig,
  unigramModel,
  wordPieceModel,
} from "./trained-file.ts";

/** Minimum number of UTF-16 units per batch of native code: enough work for several threads. */
const batchLength = 1 << 22;
/** Maximum number of texts per batch. */
const batchTexts = 65_536;

/** Trains a tokenizer and returns it as the contents of its files. Rejects with ABORTED if the signal fires. */
export async function trainFile(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainOptions,
): Promise<{ file: TokenizerFile; config: TokenizerConfig }> {
  const checked = checkTrainOptions(options, binding.cpuInfo().threads);
  if (!isIterable(texts)) throw invalidArgument("texts", "an iterable of strings", texts);
  const form = formOf(checked, options);
  const trainer = makeTrainer(checked, form);
  throwIfAborted(options.signal, "Tokenizer.train");
  await feed(trainer, texts, checked, options);
  const config = trainedConfig(checked, options);
  const model = await trainModel(trainer, checked, options, config.unkToken);
  return { file: makeFile(form, checked.specials, model), config };
}

function makeTrainer({ algorithm, pattern, specials }: CheckedOptions, form: ReturnType<typeof formOf>): NativeTrainer {
  if (algorithm !== "byteLevelBpe") {
    const normalizer = readNormalizers(flatten(form.normalizer, "normalizers", "normalizer"));
    const steps = flatten(form.preTokenizer, "pretokenizers", "pre_tokenizer");
    // Learn no token across a line break. Encoding needs no such split, because the vocabulary then has no token across one.
    steps.push({ type: "Split", pattern: { String: "\n" }, behavior: "Isolated", invert: false });
    const preTokenizer = readPreTokenizers(steps, false);
    return new binding.NativeTrainer({ normalizer, preTokenizer }, specials);
  }
  const stage = recognizePattern(pattern);
  if (!stage) throw unsupported("pattern", describe(pattern));
  return new binding.NativeTrainer(Uint32Array.of(stage.kind, stage.maxDigits, Number(stage.contractions)), specials);
}

/** Counts the words of all texts. While native code counts a batch, one more batch is collected. */
async function feed(
  trainer: NativeTrainer,
  texts: Iterable<string> | AsyncIterable<string>,
  { threads }: CheckedOptions,
  { signal, onProgress }: TrainOptions,
): Promise<void> {
  let batch: string[] = [];
  let length = 0;
  let read = 0;
  let counting: Promise<unknown> = Promise.resolve();
  const send = async () => {
    throwIfAborted(signal, "Tokenizer.train");
    await inSlices(given(trainer, batch), "Tokenizer.train", signal);
    await counting;
    if (batch.length === 0) return;
    counting = finish(trainer.feed(threads), signal);
    counting.catch(() => {}); // awaited below
    read += length;
    onProgress?.({ phase: "read", done: read, total: undefined });
    batch = [];
    length = 0;
  };
  try {
    for await (const text of untilAborted(texts, signal, "Tokenizer.train")) {
      if (typeof text !== "string") throw invalidArgument("texts", "strings", text);
      batch.push(text);
      length += text.length;
      if (length >= batchLength || batch.length >= batchTexts) await send();
    }
    await send();
  } finally {
    trainer.forget();
    await counting;
  }
  if (read === 0) throw invalidArgument("texts", "at least one character", read);
}

async function trainModel(
  trainer: NativeTrainer,
  checked: CheckedOptions,
  options: TrainOptions,
  unknown: string | undefined,
): Promise<TokenizerModel> {
  const { algorithm, specials, minFrequency, coverage, byteFallback, threads } = checked;
  const { signal, onProgress } = options;
  const report = onProgress && ((done: number, total: number) => onProgress({ phase: "merge", done, total }));
  const tokens = options.vocabSize - specials.length;
  if (algorithm === "byteLevelBpe") {
    return byteLevelModel(specials, await finish(trainer.trainBytes(tokens - 256, minFrequency, report), signal));
  }
  // Characters outside the vocabulary become the unknown token. Only BPE with byte tokens needs none.
  if (unknown === undefined && !(algorithm === "sentencePieceBpe" && byteFallback)) {
    throw new HeddleError("INVALID_ARGUMENT", `unkToken: expected one of specialTokens for ${algorithm}, got none`);
  }
  if (algorithm === "unigram") {
    const { seedSize: seeds = 1_000_000, maxPieceLength = 16 } = options;
    const [pieces, scores] = await finish(
      trainer.trainPieces(
        {
          tokens: tokens - (byteFallback ? 256 : 0),
          seeds,
          maxPieceLength,
          // SentencePiece's defaults.
          shrinkingFactor: 0.75,
          subIterations: 2,
          threads,
          coverage,
        },
        report,
      ),
      signal,
    );
    return unigramModel(checked, unknown, pieces, scores);
  }
  const isWordPiece = algorithm === "wordPiece";
  const [alphabet, merges] = await finish(
    trainer.trainCharacters(
      {
        tokens: tokens - (byteFallback ? 256 : 0),
        minCount: minFrequency,
        coverage,
        ...(isWordPiece && { subwordPrefix: "##" }),
      },
      report,
    ),
    signal,
  );
  if (isWordPiece) return wordPieceModel(specials, unknown, alphabet, merges);
  return sentencePieceModel(checked, unknown, alphabet, merges);
}
