import { HeddleError, invalidArgument } from "../core/errors.ts";
import { isStrings } from "../core/is-iterable.ts";
import { checkFunction, checkString } from "../core/option-values.ts";
import type { RowSource } from "../data/rows.ts";
import { type LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import { calibration } from "../metrics/calibration.ts";
import { argmax, classificationReport } from "../metrics/classification.ts";
import { type LabeledRow, labelsOf, readLabeled } from "../train/examples/classify-rows.ts";
import { allKept, splitExamples } from "../train/examples/example-source.ts";
import type { TrainEvent } from "../train/loop/trainer.ts";
import { classifySchema, type TrainClassifierOptions, trainClassifier } from "../train/stages/classify.ts";
import { type SftOptions, sft, sftSchema } from "../train/stages/sft.ts";
import { checkTextModel } from "./arguments.ts";
import { multipleChoice, type Normalization } from "./choice.ts";

/** A model, and how it classifies: with its classification head, or by the likelihood of each label as text. */
export interface ComparedModel {
  /** Name of the model in the table. */
  name: string;
  /** The model. */
  model: LanguageModel;
  /** Whether a classification head chooses the label (discriminative), or the likelihood of the label's text (generative). */
  kind: "discriminative" | "generative";
}

/** Metrics of one model on the common texts. */
export interface ComparisonRow {
  /** Name of the model. */
  name: string;
  /** As in `ComparedModel`. */
  kind: ComparedModel["kind"];
  /** Share of the rows that got their true label. */
  accuracy: number;
  /** Mean F1 over the labels. */
  macroF1: number;
  /** Expected calibration error. */
  ece: number;
  /** Mean negative log-likelihood of the correct label, in nats. Guessing gives ln(number of labels). */
  nll: number;
  /** Number of rows. */
  count: number;
}

/** Default prompt template of a generative model. `{text}` is replaced by the text, and the label follows. */
export const LABEL_TEMPLATE = "{text}\nLabel:";

/** Options of `compareClassifiers`. */
export interface CompareOptions {
  /** All labels. Default: those of the rows. */
  labels?: readonly string[] | undefined;
  /** Prompt template for a generative model, which continues with a label. Default: LABEL_TEMPLATE. */
  template?: string | undefined;
  /** Unit of a label's length, as for `multipleChoice`. Default `none`. */
  normalization?: Normalization | undefined;
  /** Aborts the call, which then rejects with ABORTED. */
  signal?: AbortSignal | undefined;
}

/**
 * Compares models on the same texts. A discriminative model's probabilities are those of its head. A generative model's
 * probabilities follow from the log-likelihoods of the labels as continuations.
 * @param rows {text, label}
 * @throws HeddleError INVALID_FILE `file:line: …`, INVALID_ARGUMENT, CONTEXT_OVERFLOW, ABORTED
 */
export async function compareClassifiers(
  models: readonly ComparedModel[],
  rows: RowSource,
  options: CompareOptions = {},
): Promise<ComparisonRow[]> {
  rejectUnknownNames(options, ["labels", "template", "normalization", "signal"]);
  if (!Array.isArray(models)) throw invalidArgument("models", "an array of models, each with name and kind", models);
  for (const [i, one] of models.entries()) checkCompared(one, `models[${i}]`);
  checkString("template", options.template);
  checkLabels(options.labels);
  const read = await readRowsOf(rows, options.signal);
  const labels = options.labels ?? labelsOf(read);
  const truth = read.map(({ row, labels: [label] }) => {
    const index = labels.indexOf(label!);
    if (index < 0)
      throw new HeddleError("INVALID_ARGUMENT", `${row.where}: label: expected one of ${labels}, got ${label}`);
    return index;
  });
  const table: ComparisonRow[] = [];
  for (const { name, kind, model } of models) {
    const probabilities =
      kind === "generative"
        ? await generative(model, read, labels, options)
        : await discriminative(model, read, labels, options.signal);
    table.push({ name, kind, ...figuresOf(probabilities, truth) });
  }
  return table;
}

function checkCompared(given: ComparedModel, name: string): void {
  if (typeof given !== "object" || given === null)
    throw invalidArgument(name, "an object with name, model, kind", given);
  const { kind, model } = given;
  if (kind !== "discriminative" && kind !== "generative")
    throw invalidArgument(`${name}.kind`, "discriminative or generative", kind);
  checkTextModel(model, "model", `${name}.model`);
}

function checkLabels(labels: unknown): void {
  if (labels === undefined) return;
  if (!isStrings(labels) || labels.length === 0) throw invalidArgument("labels", "an array of strings", labels);
}

async function readRowsOf(rows: RowSource, signal: AbortSignal | undefined): Promise<LabeledRow[]> {
  const read = await readLabeled(rows, { name: "rows", problemType: "single_label_classification", signal });
  const words = read.find(({ words }) => words);
  if (words) throw new HeddleError("INVALID_ARGUMENT", `${words.row.where}: expected a text with a label, got tokens`);
  return read;
}

/** Returns the prompt for a text. */
function prompted(text: string, template = LABEL_TEMPLATE): string {
  return template.replaceAll("{text}", () => text);
}

async function generative(
  model: LanguageModel,
  rows: readonly LabeledRow[],
  labels: readonly string[],
  { template, normalization, signal }: CompareOptions,
): Promise<number[][]> {
  const questions = rows.map(({ text, labels: [answer] }) => ({
    prompt: prompted(text!, template),
    choices: [...labels],
    answer,
  }));
  const { answers } = await multipleChoice(model, questions, { normalization, signal, calibration: { bootstrap: 0 } });
  return answers.map((a) => a.probabilities);
}

async function discriminative(
  model: LanguageModel,
  rows: readonly LabeledRow[],
  labels: readonly string[],
  signal: AbortSignal | undefined,
): Promise<number[][]> {
  const answers = await model.classify(
    rows.map(({ text }) => text!),
    signal ? { signal } : {},
  );
  return answers.map(({ probabilities }) =>
    labels.map((label) => (Object.hasOwn(probabilities, label) ? probabilities[label]! : 0)),
  );
}

function figuresOf(probabilities: readonly number[][], truth: readonly number[]) {
  const predicted = probabilities.map(argmax);
  const { accuracy, macroF1, count } = classificationReport(truth, predicted, probabilities[0]!.length);
  const { ece } = calibration(
    probabilities.map((p, i) => p[predicted[i]!]!),
    predicted.map((p, i) => p === truth[i]),
    { bootstrap: 0 },
  );
  const nll = probabilities.reduce((sum, p, i) => sum - Math.log(Math.max(p[truth[i]!]!, Number.MIN_VALUE)), 0);
  return { accuracy, macroF1, ece, nll: nll / count, count };
}

/** Options of `compareTrainedClassifiers`. */
export interface CompareTrainedOptions extends Omit<CompareOptions, "labels"> {
  /** Rows {text, label}. */
  data: RowSource;
  /** Rows that are never trained on. */
  evalData?: RowSource | undefined;
  /** Share of the rows to hold out if evalData is not given. Default 0.2. */
  evalFraction?: number | undefined;
  /**
   * Options of both trainings. `classify` and `sft` override them. Options that only `trainClassifier` has, such as `pooling` and
   * `classWeights`, apply to the discriminative model alone. An outputDir belongs in `classify` and `sft`, because each training needs
   * its own folder.
   */
  training: Partial<Omit<TrainClassifierOptions, "data" | "evalData" | "evalFraction" | "outputDir">> & {
    maxSteps: number;
  };
  /** Options of the discriminative training alone. */
  classify?: Partial<TrainClassifierOptions> | undefined;
  /** Options of the generative training alone. */
  sft?: Partial<SftOptions> | undefined;
  /** Called with each training's events. */
  onEvent?: ((kind: ComparedModel["kind"], event: TrainEvent) => void) | undefined;
}

/** Returns those of the shared options that `sft` accepts. `trainClassifier` has already checked all names. */
function forSft(training: CompareTrainedOptions["training"]): Partial<SftOptions> {
  const isShared = (name: string) => Object.hasOwn(sftSchema.shape, name) || !Object.hasOwn(classifySchema.shape, name);
  return Object.fromEntries(Object.entries(training).filter(([name, value]) => value !== undefined && isShared(name)));
}

/**
 * Trains a pretrained model as both kinds of classifier on the same rows, and measures both before and after training.
 * The discriminative model gets a classification head with random weights. The generative model learns to write the
 * label as text.
 * @param load loads the pretrained model, once for each kind. Both models are disposed of in the end
 * @returns four rows, measured on the held-out rows
 * @throws HeddleError INVALID_ARGUMENT; errors of `trainClassifier`, `sft` and `compareClassifiers`
 */
export async function compareTrainedClassifiers(
  load: () => Promise<LanguageModel>,
  options: CompareTrainedOptions,
): Promise<ComparisonRow[]> {
  rejectUnknownNames(options, [
    ...[
      "data",
      "evalData",
      "evalFraction",
      "training",
      "classify",
      "sft",
      "template",
      "normalization",
      "signal",
      "onEvent",
    ],
  ]);
  const { data, evalData, evalFraction = 0.2, training, template, normalization, signal, onEvent } = options;
  checkFunction("load", load ?? null);
  checkFunction("onEvent", onEvent);
  checkString("template", template);
  if (typeof training !== "object" || training === null)
    throw invalidArgument("training", "an object of options, maxSteps among them", training);
  const outputDir = (training as { outputDir?: unknown }).outputDir;
  if (outputDir !== undefined)
    throw invalidArgument("training.outputDir", "an outputDir in classify and one in sft instead", outputDir);
  if (typeof evalFraction !== "number" || !(evalFraction >= 0 && evalFraction < 1))
    throw invalidArgument("evalFraction", "a number from 0 to below 1", evalFraction);
  const all = await readRowsOf(data, signal);
  const split =
    evalData === undefined
      ? splitExamples(allKept(all), evalFraction)
      : { train: all, heldOut: await readRowsOf(evalData, signal) };
  if (split.train.length === 0 || split.heldOut.length === 0)
    throw invalidArgument("evalFraction", "a share that leaves rows for training and for evaluation", evalFraction);
  const labels = labelsOf(split.train);
  const plain = (rows: readonly LabeledRow[]) =>
    rows.map(({ text, labels: [label] }) => ({ text: text!, label: label! }));
  const [train, heldOut] = [plain(split.train), plain(split.heldOut)];
  const asCompletions = (rows: ReturnType<typeof plain>) =>
    rows.map(({ text, label }) => ({ prompt: prompted(text, template), completion: ` ${label}` }));
  const measure = (name: string, kind: ComparedModel["kind"], model: LanguageModel) =>
    compareClassifiers([{ name, kind, model }], heldOut, { labels, template, normalization, signal });

  const loaded = async () => {
    const model = await load();
    checkTextModel(model, "model", "load()");
    return model;
  };

  const table: ComparisonRow[] = [];
  {
    await using model = await loaded();
    await model.model.addClassifier({ task: "sequence", labels }, { seed: training.seed ?? 0 });
    table.push(...(await measure("before", "discriminative", model)));
    const given = { ...training, ...options.classify, data: train, evalData: heldOut, labels, signal };
    for await (const event of trainClassifier(model, given)) onEvent?.("discriminative", event);
    table.push(...(await measure("after", "discriminative", model)));
  }
  {
    await using model = await loaded();
    table.push(...(await measure("before", "generative", model)));
    const evaluation = options.sft?.evalFraction === undefined && { evalData: asCompletions(heldOut) };
    const given = { ...forSft(training), ...evaluation, ...options.sft, data: asCompletions(train), signal };
    for await (const event of sft(model, given)) onEvent?.("generative", event);
    table.push(...(await measure("after", "generative", model)));
  }
  return table;
}
