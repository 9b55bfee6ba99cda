import { z } from "zod";
import type { Run } from "../../core/run.ts";
import { flag, real, text } from "../../core/schema-parts.ts";
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { splitExamples } from "../examples/example-source.ts";
import type { SftRow } from "../examples/row-types.ts";
import { readSftExamples, type SftData } from "../examples/sft-data.ts";
import { SftSource } from "../examples/sft-source.ts";
import { runStage, sequenceLengthFor, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import { namesOf } from "../loop/stage-card.ts";
import { type StageCall, startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { supervisedBy } from "../losses/supervised.ts";
import { optimizerShape } from "../options/optimizer-options.ts";
import { type Given, option, variant } from "../options/option.ts";
import { type SharedOptions, sharedShape } from "../options/shared-options.ts";
import {
  type AdapterOptions,
  adapterShape,
  type CallOptions,
  crossEntropyShape,
  type EpochOptions,
  epochShape,
  type HeldOutOptions,
  heldOutShape,
  type NextTokenLossOptions,
  peakLearningRate,
  peakOf,
  stepsOf,
  trainingRows,
} from "../options/stage-options.ts";

const peaks = { lora: 1e-4, weights: 2e-5 };

const sftShape = {
  /** Files of rows (.jsonl, .parquet), or in a program the rows. Each is `{messages}`, `{prompt, completion}` or `{text}`. */
  data: trainingRows<SftRow>(".jsonl or .parquet files of rows {messages}, {prompt, completion} or {text}"),
  /** Peak of the schedule. Default: 2e-5; 1e-4 with lora. */
  learningRate: peakLearningRate(peaks),
  /** AdamW's weight decay of matrices, multiplied by the learning rate. Default 0. */
  weightDecay: variant(optimizerShape.weightDecay, real(0).default(0)),
  /**
   * Uniform noise on the embeddings in training, ± alpha / √(sequence length · width) (Jain et al. 2023, "NEFTune"; the paper uses 5). 0
   * turns it off. Default 0.
   */
  neftuneNoiseAlpha: option(
    real(0).default(0),
    "NEFTune noise on the embeddings in training (5 in the paper); 0 disables it",
    { aliases: "neftune neftunealpha" },
  ),
  /** Pack several rows into a sequence, without attention between them. This avoids computing on padding. Default false. */
  packing: option(flag().default(false), "pack several rows into a sequence, without attention between them", {
    recorded: false,
  }),
  /** For conversations, and for completions that are messages: learn only the assistant's answers; false: every token. Default true. */
  assistantOnlyLoss: option(flag().default(true), "conversations: loss only on the assistant's messages"),
  /** For prompts with completions: learn only the completions; false: every token. Default true. */
  completionOnlyLoss: option(flag().default(true), "prompts with completions: loss only on the completions"),
  /**
   * Name or text of the chat template, which is saved with the finished model. Default: the tokenizer's own, or
   * heddle's plain template.
   */
  chatTemplate: option(text().optional(), "name or text of the chat template, saved with the model", {
    otherwise: "that of the tokenizer, or a plain one",
    aliases: "template",
  }),
  /**
   * Handling of a row longer than maxSeqLength: keep_start and keep_end truncate it, drop leaves it out, error stops.
   * Default "keep_start".
   */
  truncationMode: option(
    z.enum(["keep_start", "keep_end", "drop", "error"]).default("keep_start"),
    "what to do with rows longer than maxSeqLength",
  ),
};

/** The strict schema of supervised fine-tuning's options, as in a configuration file. */
export const sftSchema = z.strictObject({
  ...sharedShape,
  ...epochShape,
  ...heldOutShape<SftRow>(),
  ...adapterShape,
  ...crossEntropyShape,
  ...sftShape,
});

/** Options of `sft`. */
export interface SftOptions<Base = LanguageModel>
  extends Given<typeof sftShape>,
    SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<SftRow>,
    AdapterOptions,
    NextTokenLossOptions,
    CallOptions {}

/** A model with its tokenizer, for supervised fine-tuning. `LanguageModel` implements it. */
export interface SftTrainable extends Trainable {
  /** The tokenizer. A run on conversations sets its chat template. */
  tokenizer?: Tokenizer | undefined;
}

/**
 * Supervised fine-tuning: a base model learns to answer from examples. Trains all weights, or with `lora` an adapter over frozen weights.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or invalid option, INVALID_FILE for a row (`file:line: …`); NUMERICAL for a loss that
 *   is not finite, ABORTED after `signal` fired (the last completed step is saved first)
 * @example
 * await sft(base, { data: "chats.jsonl", numTrainEpochs: 2, lora: { r: 16 }, outputDir: "out" });
 */
export function sft<Base extends SftTrainable>(base: Base, options: SftOptions<Base>): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "sft", schema: sftSchema }, options, start);
}

async function* start(
  base: SftTrainable,
  options: z.output<typeof sftSchema>,
  call: StageCall,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "sft");
  const maxSeqLength = sequenceLengthOf(base.model, options);
  const read = (data: RowSource, name: string) =>
    readSftExamples(data, tokenizer, { ...options, maxSeqLength, name, ...call });
  const { train, heldOut } = await split(options, read);
  if (train.conversations > 0) {
    base.tokenizer = withTemplate(tokenizer, options.chatTemplate);
    call.preparation.besidesModel(() => {
      base.tokenizer = tokenizer;
    });
  }
  // Without packing, a sequence is as long as the longest row.
  const longest = [...train.examples, ...heldOut.examples].reduce((n, { ids }) => Math.max(n, ids.length), 1);
  const sequenceLength = options.packing ? maxSeqLength : sequenceLengthFor(longest, maxSeqLength);
  const source = new SftSource(train.examples, {
    ...options,
    batchSize: options.perDeviceTrainBatchSize,
    sequenceLength,
    heldOut: heldOut.examples,
  });
  const maxSteps = stepsOf(options, await source.sequencesPerEpoch(), call.world);
  const learningRate = peakOf(peaks, options);
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
      ...call,
      sequenceLength,
    },
  );
}

async function split(
  { data, evalData, evalFraction = 0 }: z.output<typeof sftSchema>,
  read: (data: RowSource, name: string) => Promise<SftData>,
): Promise<Record<"train" | "heldOut", Pick<SftData, "examples" | "conversations">>> {
  const all = await read(data, "data");
  if (evalData !== undefined) return { train: all, heldOut: await read(evalData, "evalData") };
  const { conversations } = all;
  const split = splitExamples({ ...all, rows: all.examples }, evalFraction);
  return {
    train: { examples: split.train, conversations },
    heldOut: { examples: split.heldOut, conversations },
  };
}

/** Returns the tokenizer with the chat template of the training, which the trained model needs for its answers. */
function withTemplate(tokenizer: Tokenizer, template: string | undefined): Tokenizer {
  if (template === undefined && tokenizer.hasChatTemplate) return tokenizer;
  return tokenizer.withChatTemplate(template === undefined ? {} : { template });
}
