import { multipleChoice } from "../eval/index.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { TrainEvent } from "../train/loop/trainer.ts";
import { trainClassifier } from "../train/stages/classify.ts";
import { sft } from "../train/stages/sft.ts";
import type { LabeledText } from "./recipe/classification.ts";
import { modelAfter, type Setting } from "./stages.ts";
import type { Comparison } from "./types.ts";

/** Number of texts that the report shows. */
const SHOWN = 3;
const BATCH = 16;

/** Returns the prompt of the generative classifier. */
const question = (text: string) => `${text}\nContinent:`;
/** Returns the answer of the generative classifier: the label as text. */
const labelText = (label: string) => ` ${label}`;

/**
 * Trains two kinds of classifier from the same pretrained weights, on the same texts and for the same number of steps.
 * The discriminative classifier has a head with a probability for each label. The generative classifier continues the
 * text with the label, and its answer is the likeliest label.
 */
export async function* compareClassifiers(
  setting: Setting,
  data: { train: readonly LabeledText[]; test: readonly LabeledText[] },
): AsyncGenerator<TrainEvent, { comparison: Comparison; tokens: number }, void> {
  const { work, signal } = setting;
  const { steps } = work.plan.stages.classify;
  const labels = [...new Set(data.train.map(({ label }) => label))].sort();
  const shared = {
    maxSteps: steps,
    perDeviceTrainBatchSize: work.plan.quick ? 4 : BATCH,
    learningRate: 3e-4,
    warmupSteps: Math.min(8, steps),
    seed: work.plan.seed,
    signal,
  };
  let tokens = 0;
  const shown = data.test.filter((_, i) => i % Math.ceil(data.test.length / SHOWN) === 0);

  const generative = await modelAfter(setting, "pretrain");
  let accuracies: { before: number; after: number };
  let generated: string[];
  try {
    const before = await generativeAccuracy(generative, data.test, labels, signal);
    const rows = data.train.map(({ text, label }) => ({ prompt: question(text), completion: labelText(label) }));
    const run = sft(generative, { ...shared, data: rows });
    for await (const event of run) yield event;
    tokens += (await run).tokensSeen;
    accuracies = { before, after: await generativeAccuracy(generative, data.test, labels, signal) };
    const completions = await generative.completeAll(
      shown.map(({ text }) => question(text)),
      { maxTokens: 8, temperature: 0, ...(signal && { signal }) },
    );
    generated = completions.map(({ text }) => text.trim());
  } finally {
    generative.dispose();
  }

  const discriminative = await modelAfter(setting, "pretrain");
  try {
    const run = trainClassifier(discriminative, {
      ...shared,
      data: data.train,
      evalData: data.test,
      labels,
      outputDir: work.path("classify"),
    });
    for await (const event of run) yield event;
    const result = await run;
    tokens += result.tokensSeen;
    const examples = [];
    for (const [i, { text, label }] of shown.entries()) {
      const { probabilities } = await discriminative.classify(text);
      examples.push({ text, label, probabilities, generated: generated[i]! });
    }
    const comparison: Comparison = {
      labels,
      // Before training, the head is random, so its accuracy is that of guessing.
      discriminative: { before: 1 / labels.length, after: result.evalMetrics?.accuracy ?? Number.NaN },
      generative: accuracies,
      examples,
    };
    return { comparison, tokens };
  } finally {
    discriminative.dispose();
  }
}

/** Returns the share of texts for which the correct label is the likeliest continuation. */
async function generativeAccuracy(
  model: LanguageModel,
  rows: readonly LabeledText[],
  labels: readonly string[],
  signal: AbortSignal | undefined,
): Promise<number> {
  const choices = labels.map(labelText);
  const questions = rows.map(({ text, label }) => ({ prompt: question(text), choices, answer: labelText(label) }));
  return (await multipleChoice(model, questions, { signal })).accuracy;
}
