import { z } from "zod";
import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import type { Run } from "../../core/run.ts";
import { whole } from "../../core/schema-parts.ts";
import { pause } from "../../core/slices.ts";
import type { ClassifierConfig } from "../../formats/config/config.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { classifierNames, trunkNames } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import {
  encodeLabeled,
  type LabeledExample,
  type LabeledRow,
  labelsOf,
  needTwoLabels,
  readLabeled,
} from "../examples/classify-rows.ts";
import { allKept, ExampleSource, splitExamples } from "../examples/example-source.ts";
import type { ClassifyRow } from "../examples/row-types.ts";
import { needPossible } from "../loop/run-checks.ts";
import { runStage, sequenceLengthFor, sequenceLengthOf, type Trainable, tokenizerOf } from "../loop/run-stage.ts";
import type { Metrics } from "../loop/stage.ts";
import { namesOf } from "../loop/stage-card.ts";
import { type StageCall, startStage } from "../loop/start-stage.ts";
import type { TrainEvent, TrainResult } from "../loop/trainer.ts";
import { evaluateLabeled, fitClassifierTemperature } from "../losses/classify-evaluate.ts";
import { classification } from "../losses/classify-loss.ts";
import { batchShape } from "../options/optimizer-options.ts";
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
  heldOutRows,
  heldOutShape,
  stepsOf,
  trainingRows,
} from "../options/stage-options.ts";

const isWeights = (v: unknown): boolean =>
  isObject(v) &&
  Object.values(v).every((weight) => typeof weight === "number" && weight > 0 && Number.isFinite(weight));

const classifyShape = {
  /** Rows {text, label}, or {tokens, labels} with one label for each word. Files (.jsonl, .parquet), or in a program the rows. */
  data: trainingRows<ClassifyRow>(
    ".jsonl or .parquet files of rows {text, label}, or {tokens, labels} with one label per word",
  ),
  /** Rows that are never trained on. They measure accuracy and calibration, and fit the temperature. Default: none. */
  evalData: heldOutRows<ClassifyRow>("evaluation rows for accuracy, calibration and the temperature, never trained on"),
  /** Number of texts in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: variant(batchShape.perDeviceTrainBatchSize, whole(1).default(8), {
    help: "texts per micro-batch",
  }),
  /** Maximum number of tokens of a text. Default: the model's context. */
  maxSeqLength: variant(batchShape.maxSeqLength, whole(1).optional(), {
    help: "maximum tokens per text",
    otherwise: "the model's context length",
  }),
  /** Names of the labels, in the order of their indices. Default: those of the rows, sorted. */
  labels: option(z.array(z.string().min(1)).min(1).optional(), "the labels in order", {
    otherwise: "those of the rows, sorted",
  }),
  /** Kind of problem. Default "single_label_classification". */
  problemType: option(
    z
      .enum(["single_label_classification", "multi_label_classification", "regression"])
      .default("single_label_classification"),
    "kind of label",
  ),
  /**
   * The hidden state that the head reads: that of the last token (as in transformers' decoders), the mean, or that of
   * the first token. Default: last; first for encoders.
   */
  pooling: option(z.enum(["last", "mean", "first"]).optional(), "hidden state that the head reads", {
    otherwise: "last; first for encoders",
  }),
  /**
   * The weights to train. `full`: all weights. `head`: only the head, over a frozen trunk. With `lora`: always the
   * adapter and the head. Default "full".
   */
  trainable: option(
    z.enum(["full", "head"]).default("full"),
    "full: every weight; head: the head over a frozen trunk (with lora: adapters and the head)",
  ),
  /**
   * Weight of each label in the loss, for single_label_classification. `balanced` weights labels inversely to their
   * frequency, with a mean of 1 over the targets. Default: 1 each. As in PyTorch's `CrossEntropyLoss(weight)`, the loss
   * is divided by the sum of the weights of a step's targets.
   */
  classWeights: option(
    // z.record would drop a label named `__proto__`.
    z
      .custom<"balanced" | Readonly<Record<string, number>>>(
        (v) => v === "balanced" || isWeights(v),
        "balanced, or an object of labels and numbers above 0",
      )
      .optional(),
    "weight of each label by name; balanced: inversely proportional to its frequency",
    { otherwise: "1 each" },
  ),
  /** Share of the target that is spread evenly over all labels, for single_label_classification. Default 0. */
  labelSmoothingFactor: variant(crossEntropyShape.labelSmoothingFactor, z.number().min(0).max(0.99).default(0), {
    help: "label smoothing",
  }),
  /** Keep the beginning of a text that is longer than maxSeqLength, instead of an error. Default false. */
  truncation: option(z.boolean().default(false), "cut long texts at the end instead of raising an error"),
  /** Fit a temperature for the probabilities on the held-out rows, if there are any. Default true. */
  calibrate: option(z.boolean().default(true), "fit a temperature for the logits on the evaluation rows"),
};

/** The strict schema of the options, as in a configuration file. */
export const classifySchema = z
  .strictObject({
    ...sharedShape,
    ...epochShape,
    ...heldOutShape<ClassifyRow>(),
    ...adapterShape,
    ...classifyShape,
  })
  .superRefine(({ problemType, classWeights, labelSmoothingFactor }, context) => {
    if (problemType === "single_label_classification") return;
    const refuse = (option: string, expected: string) =>
      context.addIssue({ code: "custom", path: [option], message: `${expected} with problemType ${problemType}` });
    if (classWeights !== undefined) refuse("classWeights", "no weights");
    if (labelSmoothingFactor > 0) refuse("labelSmoothingFactor", "0");
  });

/** Options of `trainClassifier`. */
export interface TrainClassifierOptions<Base = LanguageModel>
  extends Given<typeof classifyShape>,
    SharedOptions<Base>,
    EpochOptions,
    HeldOutOptions<ClassifyRow>,
    AdapterOptions,
    CallOptions {}

/** A model with a tokenizer that reports token offsets and special tokens, as a classifier needs. `LanguageModel` implements it. */
export interface TrainableClassifier extends Trainable {
  /** The tokenizer, which encodes the texts and is saved with the weights. */
  readonly tokenizer?:
    | (NonNullable<Trainable["tokenizer"]> & Pick<Tokenizer, "encode" | "encodeWithOffsets" | "closingCount">)
    | undefined;
}

/**
 * Trains a classification head on a pretrained trunk, together with the trunk or with the trunk frozen. A model without
 * a classification head gets a new head, initialized from `seed`. An existing head is trained further if it has the
 * same labels. Held-out rows measure accuracy, macro-F1 and calibration, and fit a temperature that calibrates the
 * probabilities. The metrics are saved in the model card, and the temperature in the configuration.
 *
 * @throws HeddleError INVALID_FILE `file:line: …` for a row that cannot be used, INVALID_ARGUMENT, NUMERICAL, ABORTED
 * @example
 * await trainClassifier(model, { data: "reviews.jsonl", evalFraction: 0.1, maxSteps: 300, outputDir: "out" });
 * const { label, probabilities } = await model.classify("A lovely film.");
 */
export function trainClassifier<Base extends TrainableClassifier>(
  base: Base,
  options: TrainClassifierOptions<Base>,
): Run<TrainEvent, TrainResult> {
  return startStage(base, { name: "classify", schema: classifySchema }, options, start);
}

async function* start(
  base: TrainableClassifier,
  options: z.output<typeof classifySchema>,
  call: StageCall,
): AsyncGenerator<TrainEvent, TrainResult, void> {
  const tokenizer = tokenizerOf(base, "classify");
  const { model } = base;
  const { problemType, seed } = options;
  const rows = await readRowsOf(options, call.signal);
  const classifier = classifierFor(model, rows, options);
  const index = new Map(classifier.labels.map((label, i) => [label, i]));
  const limit =
    options.maxSeqLength === undefined ? model.config.maxPositionEmbeddings : sequenceLengthOf(model, options);
  const encode = async (labeled: readonly LabeledRow[]) => {
    const out: LabeledExample[] = [];
    for (const row of labeled) {
      out.push(encodeLabeled(row, { tokenizer, index, problemType, maxLength: limit, truncation: options.truncation }));
      await pause();
    }
    return out;
  };
  const train = await encode(rows.train);
  const heldOut = await encode(rows.heldOut);
  const { perDeviceTrainBatchSize: sequences } = options;
  const examples = [...train, ...heldOut];
  const sequenceLength = sequenceLengthFor(
    longest(examples, ({ ids }) => ids.length),
    limit,
  );
  const stage = classification({
    classifier,
    sequences,
    sequenceLength,
    padTokenId: model.config.padTokenId ?? model.config.eosTokenIds[0] ?? 0,
    outputs: classifier.task === "token" ? longest(examples, ({ at }) => at.length) : 1,
    classWeights: weightsOf(options.classWeights, train, classifier.labels),
    labelSmoothingFactor: options.labelSmoothingFactor,
  });
  const source = new ExampleSource(train, {
    heldOut,
    batchSize: sequences,
    seed,
    evalBatches: options.evalBatches,
  });
  const run = { ...options, maxSteps: stepsOf(options, train.length, call.world) };
  needPossible(source, run);
  // Replayed text needs the language-modelling head.
  const keepLanguageHead = options.replay !== undefined;
  await call.preparation.change(() => model.addClassifier(classifier, { seed, keepLanguageHead }));
  const names =
    options.trainable === "head" || options.lora
      ? classifierNames(model.config)
      : [...trunkNames(model.config), ...classifierNames(model.config)];
  const finish = async (): Promise<Metrics> => {
    if (heldOut.length === 0) return {};
    model.setClassifierTemperature(undefined);
    const measured = await evaluateLabeled(model, heldOut, { signal: call.signal });
    if (!options.calibrate || problemType !== "single_label_classification") return measured.metrics;
    const temperature = fitClassifierTemperature(measured);
    if (Number.isNaN(temperature)) return measured.metrics; // the model returned a logit that is not finite
    model.setClassifierTemperature(temperature);
    const calibrated = await evaluateLabeled(model, heldOut, { signal: call.signal, logits: measured.logits });
    return {
      ...measured.metrics,
      temperature,
      calibratedEce: calibrated.metrics.ece!,
      calibratedNll: calibrated.metrics.nll!,
    };
  };
  const card = {
    data: namesOf(options.data),
    notes: `A classifier of ${classifier.task === "token" ? "words" : "texts"}: ${firstOf(classifier.labels, 20)}.`,
    evaluation: { name: "held-out rows", metric: "loss" },
  };
  return yield* runStage(base, stage, source, run, {
    ...call,
    card,
    names,
    sequenceLength,
    finish,
  });
}

interface SplitRows {
  train: LabeledRow[];
  heldOut: LabeledRow[];
}

async function readRowsOf(
  options: z.output<typeof classifySchema>,
  signal: AbortSignal | undefined,
): Promise<SplitRows> {
  const { problemType, evalFraction = 0 } = options;
  const data = await readLabeled(options.data, { name: "data", problemType, signal });
  if (problemType === "single_label_classification") needTwoLabels(data, labelsOf(data));
  if (options.evalData !== undefined) {
    const heldOut = await readLabeled(options.evalData, { name: "evalData", problemType, signal });
    return { train: data, heldOut };
  }
  return splitExamples(allKept(data), evalFraction);
}

/**
 * Returns the classifier that the rows need. It keeps the labels of the model's current classifier if they include all
 * labels of the rows.
 */
function classifierFor(
  { config: { classifier: current }, family }: Model,
  { train, heldOut }: SplitRows,
  options: z.output<typeof classifySchema>,
): ClassifierConfig {
  const { problemType } = options;
  const task = [...train, ...heldOut][0]?.words ? "token" : "sequence";
  if (task === "token" && problemType !== "single_label_classification")
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `problemType: expected single_label_classification for words, got ${problemType}`,
    );
  // Without evalData, all rows of a rare label may have been held out, so read the labels of all rows. A label that
  // only evalData has is a mistake.
  const named = options.evalData === undefined ? [...train, ...heldOut] : train;
  const found = problemType === "regression" ? ["value"] : labelsOf(named);
  const pooling = options.pooling ?? (current?.task === task ? current.pooling : family.encoder ? "first" : "last");
  const known = current && current.task === task && current.problemType === problemType ? current.labels : undefined;
  const labels = options.labels ?? (known && found.every((l) => known.includes(l)) ? known : found);
  if (problemType === "single_label_classification") needTwoLabels(train, labels);
  return { task, labels: [...labels], problemType, pooling };
}

/**
 * Returns the weight of each label. A balanced weight is all / (seen · n): n of `all` targets have the label, and `seen`
 * labels occur, as in scikit-learn.
 */
function weightsOf(
  given: z.output<typeof classifySchema>["classWeights"],
  examples: readonly LabeledExample[],
  labels: readonly string[],
): Float64Array | undefined {
  if (given === undefined) return undefined;
  if (given !== "balanced") {
    const unknown = Object.keys(given).find((name) => !labels.includes(name));
    if (unknown !== undefined)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `classWeights: expected labels of ${labels.join(", ")}, got ${unknown}`,
      );
    return Float64Array.from(labels, (label) => (Object.hasOwn(given, label) ? given[label]! : 1));
  }
  const counts = new Float64Array(labels.length);
  for (const { targets } of examples) for (const t of targets) if (t >= 0) counts[t]! += 1;
  const seen = counts.filter((n) => n > 0).length;
  const all = counts.reduce((a, b) => a + b, 0);
  return counts.map((n) => (n > 0 ? all / (seen * n) : 1));
}

function longest<T>(items: readonly T[], length: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, length(item)), 1);
}
