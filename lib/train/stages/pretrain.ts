import { z } from "zod";
import { Run } from "../../core/run.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { corpusSource, filesOf } from "../examples/corpus-source.ts";
import { isTexts, textFiles } from "../examples/text-files.ts";
import { runStage, type StageSetup, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import { dataNames, type StageCard } from "../loop/stage-card.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { languageModel } from "../losses/language-modeling.ts";
import { crossEntropyShape, givenOptions, parseOptions, textData, trainingShape } from "../options/options.ts";
import type {
  CallOptions,
  NextTokenLossOptions,
  SharedOptions,
  StepOptions,
  TextData,
} from "../options/stage-options.ts";

/** The strict schema of pre-training options, as a configuration file holds them. */
export const pretrainSchema = z.strictObject({
  ...trainingShape,
  ...crossEntropyShape,
  data: textData,
  evalData: textData.optional(),
  evalFraction: z.number().min(0).max(0.5).optional(),
  documentSeparator: z.string().optional(),
  textField: z.string().optional(),
  packing: z.enum(["concatenate", "bestFit"]).default("concatenate"),
});

/** Options of `pretrain`. */
export interface PretrainOptions<Base = LanguageModel>
  extends SharedOptions<Base>,
    StepOptions,
    NextTokenLossOptions,
    CallOptions {
  /**
   * Text files (documents separated by blank lines), .jsonl files (rows with a `text`), .parquet files (a column `text`), .tokens files
   * (or a folder of them). Or several corpora with weights: `[{ data: "web.parquet", weight: 3 }, { data: "code.jsonl" }]`. In a program
   * also the texts: an array of `{ text }`, or an iterable of those or of strings. It is read once, into a temporary file.
   */
  data: TextData;
  /** Files, or texts, that are never trained on. Default: none. */
  evalData?: TextData | undefined;
  /** Without evalData: the share of data's documents that is held out, up to 0.5. Default: 0. */
  evalFraction?: number | undefined;
  /** Separator of documents in a text file: `blank-line`, `line`, `file`, or any other text on a separate line. Default: blank-line. */
  documentSeparator?: string | undefined;
  /** The field of .jsonl rows, or the column of .parquet files. Default: text. */
  textField?: string | undefined;
  /**
   * `concatenate` joins documents and cuts them into sequences. `bestFit` packs whole documents, which do not see each other, and cuts
   * only those longer than a sequence. Default "concatenate".
   */
  packing?: "concatenate" | "bestFit" | undefined;
}

/**
 * Self-supervised pre-training on raw text: next-token cross-entropy over packed sequences, AdamW or Muon, f32 masters. Also continues the
 * pre-training of a loaded checkpoint. With `outputDir` it writes checkpoints that survive a kill at any moment, and the finished model.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or misfit option, NUMERICAL for a loss that is not finite; ABORTED after `signal`
 *   fired (the last completed step is saved first)
 * @example
 * for await (const event of pretrain(base, { data: "corpus.txt", maxSteps: 1000, outputDir: "out" }))
 *   if ("loss" in event) console.log(event.step, event.loss, event.tokensPerSecond);
 */
export function pretrain<Base extends Trainable>(
  base: Base,
  options: PretrainOptions<Base>,
): Run<TrainEvent, TrainResult> {
  const { signal, world, onWarning, ...rest } = givenOptions(options, "pretrain");
  const parsed = parseOptions(pretrainSchema, rest, "pretrain");
  return new Run(() => start(base, parsed, { signal, world, warn: onWarning }));
}

async function* start(
  base: Trainable,
  options: z.output<typeof pretrainSchema>,
  { signal, world, warn }: Pick<StageSetup, "signal" | "world" | "warn">,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "pretrain");
  const sequenceLength = sequenceLengthOf(base.model, options);
  const files = await textFiles(options, signal);
  try {
    const { data, evalData } = files;
    const source = await corpusSource({ ...options, data, evalData }, tokenizer, sequenceLength, signal);
    const card: StageCard = {
      data: isTexts(options.data) ? [] : dataNames(filesOf(options.data)),
      notes: "A base model: it continues text. It was not tuned to answer, to follow instructions or to refuse.",
      evaluation: { name: "held-out text", metric: "loss (nats per token)" },
    };
    return yield* runStage(base, languageModel(options), source, options, { card, signal, world, warn });
  } finally {
    await files.dispose();
  }
}
