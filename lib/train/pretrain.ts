import { z } from "zod";
import { Run } from "../run.ts";
import { dataNames, type StageCard } from "./card.ts";
import { corpusSource, filesOf } from "./corpus-source.ts";
import { languageModel } from "./language-modelling.ts";
import { corpora, crossEntropyShape, givenOptions, parseOptions, trainingShape } from "./options.ts";
import { runStage, type StageSetup, sequenceLengthOf, type Trainable, tokenizerOf } from "./run-stage.ts";
import type { TrainEvent, TrainResult } from "./trainer.ts";
import type { World } from "./world.ts";

/** The strict schema of pre-training options, as a configuration file holds them. */
export const pretrainSchema = z.strictObject({
  ...trainingShape,
  ...crossEntropyShape,
  /**
   * Text files (documents apart by blank lines), .jsonl files (rows with a `text`), .parquet files (a column `text`), .tokens files
   * (or a folder of them); or several corpora with weights: `[{ data: "web.parquet", weight: 3 }, { data: "code.jsonl" }]`.
   */
  data: corpora,
  /** Files that are never trained on. */
  evalData: corpora.optional(),
  /** Without evalData: the share of `data`'s documents that is held out instead. */
  evalFraction: z.number().min(0).max(0.5).optional(),
  documentSeparator: z.string().optional(),
  /** The field of .jsonl rows, or the column of .parquet files. Default: text. */
  textField: z.string().optional(),
  /**
   * `concatenate` sets documents end to end and cuts them into sequences; `bestFit` puts whole documents together that do not see
   * each other, and cuts only those longer than a sequence.
   */
  packing: z.enum(["concatenate", "bestFit"]).default("concatenate"),
});

/** Options of `pretrain`. @interface */
export type PretrainOptions = z.input<typeof pretrainSchema> & {
  signal?: AbortSignal | undefined;
  /** The processes that train together. Default: this one. */
  world?: World | undefined;
  /** Told of what is no error. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
};

/**
 * Self-supervised pre-training on raw text: next-token cross-entropy over packed sequences, AdamW or Muon, f32 masters. Also continues
 * the pre-training of a loaded checkpoint. With `outputDir` it writes checkpoints that survive a kill at any moment, and the finished model.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or misfit option, NUMERICAL for a loss that is not finite, ABORTED after
 *   `signal` fired (the last completed step is saved first)
 * @example
 * for await (const event of pretrain(base, { data: "corpus.txt", maxSteps: 1000, outputDir: "out" }))
 *   if ("loss" in event) console.log(event.step, event.loss, event.tokensPerSecond);
 */
export function pretrain(base: Trainable, options: PretrainOptions): Run<TrainEvent, TrainResult> {
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
  const source = await corpusSource(options, tokenizer, sequenceLengthOf(base.model, options), signal);
  const card: StageCard = {
    data: dataNames(filesOf(options.data)),
    notes: "A base model: it continues text. It was not tuned to answer, to follow instructions or to refuse.",
    evaluation: { name: "held-out text", metric: "loss (nats per token)" },
  };
  return yield* runStage(base, languageModel(options), source, options, { card, signal, world, warn });
}
