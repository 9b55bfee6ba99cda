import { z } from "zod";
import { Run } from "../../core/run.ts";
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { splitExamples } from "../examples/example-source.ts";
import type { SftRow } from "../examples/row-types.ts";
import { readSftExamples, type SftData } from "../examples/sft-data.ts";
import { SftSource } from "../examples/sft-source.ts";
import { preparing } from "../loop/model-rollback.ts";
import { runStage, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { emitWarning } from "../loop/warn.ts";
import { supervisedBy } from "../losses/supervised.ts";
import { learningRateOf } from "../options/defaults.ts";
import {
  adapterShape,
  crossEntropyShape,
  givenOptions,
  parseOptions,
  rowData,
  trainingShape,
} from "../options/options.ts";
import type {
  AdapterOptions,
  CallOptions,
  EpochOptions,
  HeldOutOptions,
  NextTokenLossOptions,
  SharedOptions,
} from "../options/stage-options.ts";
import { type Call, namesOf } from "../preference/options.ts";

/** The strict schema of supervised fine-tuning's options, as a configuration file holds them. */
export const sftSchema = z.strictObject({
  ...trainingShape,
  ...adapterShape,
  ...crossEntropyShape,
  maxSteps: trainingShape.maxSteps.optional(),
  numTrainEpochs: z.number({ error: "a number above 0" }).gt(0, "a number above 0").default(3),
  learningRate: trainingShape.learningRate.unwrap().optional(),
  weightDecay: trainingShape.weightDecay.unwrap().default(0),
  data: rowData<SftRow>(),
  evalData: rowData<SftRow>().optional(),
  evalFraction: z.number({ error: "a number from 0 to 0.5" }).min(0).max(0.5).optional(),
  neftuneNoiseAlpha: z.number({ error: "a number of at least 0" }).min(0, "a number of at least 0").default(0),
  packing: z.boolean({ error: "true or false" }).default(false),
  assistantOnlyLoss: z.boolean({ error: "true or false" }).default(true),
  completionOnlyLoss: z.boolean({ error: "true or false" }).default(true),
  chatTemplate: z.string({ error: "a text" }).optional(),
  truncationMode: z.enum(["keep_start", "keep_end", "drop", "error"]).default("keep_start"),
});

/** Options of `sft`. */
export interface SftOptions<Base = LanguageModel>
  extends SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<SftRow>,
    AdapterOptions,
    NextTokenLossOptions,
    CallOptions {
  /** Files of rows (.jsonl, .parquet), or in a program the rows. Each is `{messages}`, `{prompt, completion}` or `{text}`. */
  data: RowSource<SftRow>;
  /** Peak of the schedule. Default: 2e-5; 1e-4 with lora. */
  learningRate?: number | undefined;
  /** AdamW's weight decay of matrices, multiplied by the learning rate. Default 0. */
  weightDecay?: number | undefined;
  /**
   * Uniform noise on the embeddings in training, ± alpha / √(sequence length · width) (Jain et al. 2023, "NEFTune"; the paper uses 5). 0
   * turns it off. Default 0.
   */
  neftuneNoiseAlpha?: number | undefined;
  /** Pack several rows into a sequence, without attention between them. This avoids computing on padding. Default false. */
  packing?: boolean | undefined;
  /** For conversations, and for completions that are messages: learn only the assistant's answers; false: every token. Default true. */
  assistantOnlyLoss?: boolean | undefined;
  /** For prompts with completions: learn only the completions; false: every token. Default true. */
  completionOnlyLoss?: boolean | undefined;
  /** Name or text of the chat template, which is saved with the finished model. Default: the tokenizer's own, or heddle's plain one. */
  chatTemplate?: string | undefined;
  /**
   * Handling of a row longer than maxSeqLength: keep_start and keep_end truncate it, drop leaves it out, error stops.
   * Default "keep_start".
   */
  truncationMode?: "keep_start" | "keep_end" | "drop" | "error" | undefined;
}

/** A model with its tokenizer, for supervised fine-tuning. `LanguageModel` implements it. */
export interface SftTrainable extends Trainable {
  tokenizer?: Tokenizer | undefined;
}

/**
 * Supervised fine-tuning: a base model learns to answer from examples. Trains all weights, or with `lora` an adapter over frozen weights.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or misfit option, INVALID_FILE for a row (`file:line: …`); NUMERICAL for a loss that
 *   is not finite, ABORTED after `signal` fired (the last completed step is saved first)
 * @example
 * await sft(base, { data: "chats.jsonl", numTrainEpochs: 2, lora: { r: 16 }, outputDir: "out" });
 */
export function sft<Base extends SftTrainable>(base: Base, options: SftOptions<Base>): Run<TrainEvent, TrainResult> {
  const { signal, world, onWarning = emitWarning, ...rest } = givenOptions(options, "sft");
  const parsed = parseOptions(sftSchema, rest, "sft");
  return new Run(() =>
    preparing(base, (preparation) => start(base, parsed, { signal, world, warn: onWarning, preparation })),
  );
}

async function* start(
  base: SftTrainable,
  options: z.output<typeof sftSchema>,
  { signal, world, warn, preparation }: Call,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "sft");
  const maxSeqLength = sequenceLengthOf(base.model, options);
  const read = (data: RowSource, name: string) =>
    readSftExamples(data, tokenizer, { ...options, maxSeqLength, name, signal, warn });
  const { train, heldOut } = await split(options, read);
  if (train.conversations > 0) {
    base.tokenizer = withTemplate(tokenizer, options.chatTemplate);
    preparation.besidesModel(() => {
      base.tokenizer = tokenizer;
    });
  }
  // Without packing, a sequence is as long as the longest row.
  const longest = [...train.examples, ...heldOut.examples].reduce((n, { ids }) => Math.max(n, ids.length), 1);
  const sequenceLength = options.packing ? maxSeqLength : Math.min(maxSeqLength, Math.ceil(longest / 8) * 8);
  const source = new SftSource(train.examples, {
    ...options,
    batchSize: options.perDeviceTrainBatchSize,
    sequenceLength,
    heldOut: heldOut.examples,
  });
  const perStep = options.perDeviceTrainBatchSize * options.gradientAccumulationSteps * (world?.size ?? 1);
  const maxSteps =
    options.maxSteps ?? Math.max(1, Math.ceil((options.numTrainEpochs * (await source.sequencesPerEpoch())) / perStep));
  const learningRate = learningRateOf("sft", options);
  return yield* runStage(
    base,
    supervisedBy(options),
    source,
    { ...options, maxSteps, learningRate },
    {
      card: {
        data: namesOf(options.data),
        notes: "Fine-tuned to answer from examples. Its answers may be wrong with full confidence.",
        evaluation: { name: "held-out rows", metric: "loss (nats per counted token)" },
      },
      signal,
      world,
      warn,
      preparation,
      sequenceLength,
    },
  );
}

async function split(
  { data, evalData, evalFraction = 0 }: z.output<typeof sftSchema>,
  read: (data: RowSource, name: string) => Promise<SftData>,
): Promise<{ train: SftData; heldOut: SftData }> {
  const all = await read(data, "data");
  if (evalData !== undefined) return { train: all, heldOut: await read(evalData, "evalData") };
  const split = splitExamples(all.examples, evalFraction);
  return { train: { ...all, examples: split.train }, heldOut: { ...all, examples: split.heldOut } };
}

/** Returns the tokenizer with the chat template of the training, which the trained model needs for its answers. */
function withTemplate(tokenizer: Tokenizer, template: string | undefined): Tokenizer {
  if (template === undefined && tokenizer.hasChatTemplate) return tokenizer;
  return tokenizer.withChatTemplate(template === undefined ? {} : { template });
}
