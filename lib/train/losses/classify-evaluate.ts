import { probabilitiesOf } from "../../language-model/embed/classify.ts";
import { pooledOutputs } from "../../language-model/embed/text-forward.ts";
import { calibration } from "../../metrics/calibration.ts";
import { argmax, classificationReport } from "../../metrics/classification.ts";
import { mean } from "../../metrics/mean.ts";
import { fitTemperature } from "../../metrics/temperature.ts";
import { classifierOf } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import type { LabeledExample } from "../examples/classify-rows.ts";
import type { Metrics } from "../loop/stage.ts";

interface LabeledEvaluation {
  metrics: Metrics;
  /** Logits before the temperature, (labels) for each labeled output. */
  logits: Float32Array[];
  /** Label indices of the same outputs. Empty unless the task has single labels. */
  truth: number[];
}

/**
 * Evaluates a classifier on labeled examples. A single-label task gets accuracy, macro-F1, expected calibration error
 * (ECE) and negative log-likelihood, with the classifier's temperature. A multi-label task gets accuracy and micro-F1,
 * and a regression gets the mean squared and absolute errors.
 * @param options.logits logits of an earlier evaluation of these examples. Default: they are computed
 */
export async function evaluateLabeled(
  model: Model,
  examples: readonly LabeledExample[],
  options: { signal?: AbortSignal | undefined; logits?: Float32Array[] },
): Promise<LabeledEvaluation> {
  const classifier = classifierOf(model.config);
  const logits = options.logits ?? (await logitsOf(model, examples, options.signal));
  const labels = classifier.labels.length;
  if (classifier.problemType === "regression") {
    const errors = examples.map(({ values }, i) => logits[i]![0]! - values![0]!);
    return { metrics: { mse: mean(errors.map((e) => e * e)), mae: mean(errors.map(Math.abs)) }, logits, truth: [] };
  }
  if (classifier.problemType === "multi_label_classification")
    return { metrics: multiLabel(examples, logits), logits, truth: [] };
  const truth = examples.flatMap(({ targets }) => [...targets].filter((t) => t >= 0));
  const probabilities = logits.map((row) => probabilitiesOf(classifier, row));
  const predicted = logits.map(argmax);
  const { accuracy, macroF1 } = classificationReport(truth, predicted, labels);
  const confidences = probabilities.map((p, i) => p[predicted[i]!]!);
  const right = predicted.map((p, i) => p === truth[i]);
  const { ece } = calibration(confidences, right, { bootstrap: 0 });
  const nll = mean(probabilities.map((p, i) => -Math.log(Math.max(p[truth[i]!]!, Number.MIN_VALUE))));
  return { metrics: { accuracy, macroF1, ece, nll }, logits, truth };
}

/** Returns the temperature that maximizes the likelihood of the labels. @throws HeddleError as `fitTemperature` */
export function fitClassifierTemperature({ logits, truth }: LabeledEvaluation): number {
  return fitTemperature(logits, truth);
}

async function logitsOf(
  model: Model,
  examples: readonly LabeledExample[],
  signal: AbortSignal | undefined,
): Promise<Float32Array[]> {
  const { task, pooling, labels } = classifierOf(model.config);
  const rows = await pooledOutputs(
    model,
    examples.map(({ ids }) => ids),
    {
      pooling: task === "token" ? "all" : pooling,
      head: true,
      contextLength: model.config.maxPositionEmbeddings,
      signal,
    },
  );
  if (task === "sequence") return rows;
  return examples.flatMap(({ at, targets }, e) =>
    [...at].flatMap((token, w) => {
      if (targets[w]! < 0) return [];
      return [rows[e]!.subarray(token * labels.length, (token + 1) * labels.length)];
    }),
  );
}

/**
 * Returns the share of texts with all labels correct, and F1 over all (text, label) pairs. A label is predicted if its
 * logit is at least 0, a probability of at least ½.
 */
function multiLabel(examples: readonly LabeledExample[], logits: readonly Float32Array[]): Metrics {
  let [hits, predicted, actual, exact] = [0, 0, 0, 0];
  for (const [i, { values }] of examples.entries()) {
    let same = true;
    for (const [l, value] of values!.entries()) {
      const isPredicted = logits[i]![l]! >= 0;
      if (isPredicted) predicted += 1;
      if (value) actual += 1;
      if (isPredicted && value) hits += 1;
      if (isPredicted !== Boolean(value)) same = false;
    }
    if (same) exact += 1;
  }
  return { accuracy: exact / examples.length, microF1: predicted + actual > 0 ? (2 * hits) / (predicted + actual) : 0 };
}
