import { z } from "zod";
import { type Batch, type Corpus, openCorpus } from "../data/corpus.ts";
import type { CorpusTokenizer } from "../data/encode.ts";
import { HeddleError } from "../errors.ts";
import type { ModelCard, ModelCardInput } from "../formats/model-card.ts";
import type { Model } from "../models/model.ts";
import { learningRateSchedule } from "../optim/schedule.ts";
import { CheckpointStore } from "./checkpoints.ts";
import { languageModelling } from "./language-modelling.ts";
import { parseOptions, trainingShape } from "./options.ts";
import { Run } from "./run.ts";
import { type BatchSource, type TrainEvent, type TrainerState, type TrainResult, trainLoop } from "./trainer.ts";

const paths = z.union([z.string(), z.array(z.string()).min(1)], { error: "a path, or an array of paths" });

/** The strict schema of pre-training options, as a configuration file holds them. */
export const pretrainSchema = z.strictObject({
  ...trainingShape,
  /** Text files (documents apart by blank lines) and .jsonl files (rows with a `text`). */
  data: paths,
  /** Files that are never trained on. */
  evalData: paths.optional(),
  /** Without evalData: the share of `data`'s documents that is held out instead. */
  evalFraction: z.number().min(0).max(0.5).optional(),
  documentSeparator: z.string().optional(),
  textField: z.string().optional(),
  /** Further fields of the model card, such as `data` (with licences) and `notes`. */
  card: z.record(z.string(), z.unknown(), { error: "an object of model card fields" }).optional(),
  /** For the model card. */
  name: z.string().optional(),
  /** For the model card: the latest date of any training text, as 2024-06-30. */
  trainingCutoffDate: z.string().optional(),
  licence: z.string().optional(),
});

export type PretrainOptions = z.input<typeof pretrainSchema> & { signal?: AbortSignal | undefined };

/** What is trained: a model with its tokenizer. `LanguageModel` is one. */
export interface Trainable {
  readonly model: Model;
  readonly tokenizer?: (CorpusTokenizer & { files(): Readonly<Record<string, string>> }) | undefined;
  card?: ModelCard | undefined;
}

/**
 * Self-supervised pre-training on raw text: next-token cross-entropy over packed sequences, AdamW, f32 masters. Also continues
 * the pre-training of a loaded checkpoint. With `outputDir` it writes checkpoints that survive a kill at any moment, and the finished model.
 *
 * @throws HeddleError INVALID_ARGUMENT for an unknown or misfit option, NUMERICAL for a loss that is not finite, ABORTED after
 *   `signal` fired (the last completed step is saved first)
 * @example
 * for await (const event of pretrain(base, { data: "corpus.txt", maxSteps: 1000, outputDir: "out" }))
 *   if ("loss" in event) console.log(event.step, event.loss, event.tokensPerSecond);
 */
export function pretrain(base: Trainable, options: PretrainOptions): Run<TrainEvent, TrainResult> {
  const { signal, ...rest } = options;
  const parsed = parseOptions(pretrainSchema, rest, "pretrain");
  return new Run(() => start(base, parsed, signal));
}

async function* start(
  base: Trainable,
  options: z.output<typeof pretrainSchema>,
  signal: AbortSignal | undefined,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const { model, tokenizer } = base;
  if (!tokenizer)
    throw new HeddleError("INVALID_ARGUMENT", "pretrain: expected a model with a tokenizer, got one without");
  const context = model.config.maxPositionEmbeddings;
  const sequenceLength = options.maxSeqLength ?? Math.min(context, 1024);
  if (sequenceLength > context)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `maxSeqLength: expected at most the model's ${context} positions, got ${sequenceLength}`,
    );
  const source = await openSource(options, tokenizer, sequenceLength, signal);
  try {
    const card = (state: TrainerState, evalLoss: number | undefined) => cardOf(base.card, options, state, evalLoss);
    const store =
      options.outputDir === undefined
        ? undefined
        : new CheckpointStore({
            outputDir: options.outputDir,
            saveTotalLimit: options.saveTotalLimit,
            saveDtype: options.saveDtype ?? options.dtype,
            resume: options.resume,
            card,
            tokenizerFiles: tokenizer.files(),
          });
    if (!store && options.resume === true)
      throw new HeddleError("INVALID_ARGUMENT", "resume: expected an outputDir to resume from, got none");
    const result = yield* trainLoop(
      model,
      languageModelling,
      source,
      {
        ...options,
        sequences: options.perDeviceTrainBatchSize,
        sequenceLength,
        learningRateAt: learningRateSchedule(options),
        signal,
      },
      store,
    );
    return result;
  } finally {
    source.dispose();
  }
}

async function openSource(
  options: z.output<typeof pretrainSchema>,
  tokenizer: CorpusTokenizer,
  maxSeqLength: number,
  signal: AbortSignal | undefined,
): Promise<BatchSource<Batch>> {
  const { documentSeparator, textField, seed, evalFraction } = options;
  const shared = {
    tokenizer,
    maxSeqLength,
    batchSize: options.perDeviceTrainBatchSize,
    seed,
    documentSeparator,
    textField,
    signal,
  };
  const fraction = options.evalData === undefined && evalFraction ? { evalFraction } : {};
  const corpus = await openCorpus({ ...shared, files: options.data, split: "train", ...fraction });
  let heldOut: Corpus | undefined;
  if (options.evalData !== undefined) heldOut = await openCorpus({ ...shared, files: options.evalData });
  else if (evalFraction) heldOut = await openCorpus({ ...shared, files: options.data, split: "eval", evalFraction });
  return {
    next: (s) => corpus.next({ signal: s }),
    state: () => corpus.state(),
    restore: (state) => corpus.restore(state as ReturnType<Corpus["state"]>),
    evaluation: heldOut && ((s) => heldOut.pass({ maxBatches: options.evalBatches, signal: s })),
    dispose() {
      corpus.dispose();
      heldOut?.dispose();
    },
  };
}

function cardOf(
  parent: ModelCard | undefined,
  options: z.output<typeof pretrainSchema>,
  state: TrainerState,
  evalLoss: number | undefined,
): ModelCardInput {
  const files = typeof options.data === "string" ? [options.data] : options.data;
  const given = (options.card ?? {}) as Partial<ModelCardInput>;
  return {
    ...given,
    name: options.name ?? given.name ?? parent?.name,
    stage: "pretrain",
    parent: parent ? (parent.name ?? parent.stage) : null,
    data: [...(parent?.data ?? []), ...(given.data ?? files.map((name) => ({ name: name.replace(/^.*[\\/]/, "") })))],
    tokensSeen: (parent?.tokensSeen ?? 0) + state.tokensSeen,
    trainingCutoffDate: options.trainingCutoffDate ?? parent?.trainingCutoffDate ?? null,
    licence: options.licence ?? parent?.licence,
    notes:
      given.notes ??
      "A base model: it continues text. It was not tuned to answer, to follow instructions or to refuse.",
    evaluations:
      evalLoss === undefined ? [] : [{ name: "held-out text", metric: "loss (nats per token)", value: evalLoss }],
  };
}
