import { firstOf } from "../core/amounts.ts";
import { invalidArgument } from "../core/errors.ts";
import { checkWhole } from "../core/option-values.ts";
import { checkIndices, checkList } from "./arguments.ts";
import { mean } from "./mean.ts";

/** Maximum number of labels. The report has figures for each label. */
const MAX_LABELS = 1_000_000;

/** Metrics of a classifier over labeled examples. */
export interface ClassificationReport {
  /** Share of the examples that were assigned their true label. */
  accuracy: number;
  /** Mean F1 over the labels that occur among the true or the predicted labels. */
  macroF1: number;
  /** Per label: its name if names were given, precision, recall, F1, and the number of examples with that true label (support). */
  perLabel: { label?: string; precision: number; recall: number; f1: number; support: number }[];
  /** Number of examples. */
  count: number;
}

/**
 * Computes accuracy and F1 (van Rijsbergen 1979). A label that is never predicted correctly has an F1 of 0.
 * @param truth the true labels: names, as `classify` returns them, or indices in [0, labels)
 * @param predicted the predicted labels, in the form of `truth`
 * @param labels for names: all labels in the report's order (default: the names that occur, sorted); for indices: the number of labels
 * @throws HeddleError INVALID_ARGUMENT
 * @example
 * const answers = await Promise.all(rows.map(({ text }) => model.classify(text)));
 * const report = classificationReport(rows.map(({ label }) => label), answers.map(({ label }) => label));
 */
export function classificationReport(
  truth: readonly string[],
  predicted: readonly string[],
  labels?: readonly string[],
): ClassificationReport;
/** Computes the metrics from label indices. @param labels the number of labels */
export function classificationReport(
  truth: readonly number[],
  predicted: readonly number[],
  labels: number,
): ClassificationReport;
export function classificationReport(
  truth: readonly string[] | readonly number[],
  predicted: readonly string[] | readonly number[],
  labels?: number | readonly string[],
): ClassificationReport {
  const isNamed =
    Array.isArray(labels) ||
    (labels === undefined && Array.isArray(truth) && (truth.length === 0 || typeof truth[0] === "string"));
  if (!isNamed) return reportOf(truth as readonly number[], predicted as readonly number[], labels as number);
  checkNames("truth", truth);
  checkNames("predicted", predicted);
  const names = labels ?? [...new Set([...truth, ...predicted])].sort();
  checkNames("labels", names);
  const indexOf = new Map<string, number>();
  for (const [i, name] of names.entries()) {
    if (indexOf.has(name)) throw invalidArgument(`labels[${i}]`, "a label that occurs once in the list", name);
    indexOf.set(name, i);
  }
  const indices = (option: string, given: readonly string[]) =>
    given.map((name, i) => {
      const index = indexOf.get(name);
      if (index === undefined) throw invalidArgument(`${option}[${i}]`, `one of ${firstOf(names, 20)} (labels)`, name);
      return index;
    });
  const report = reportOf(indices("truth", truth), indices("predicted", predicted), names.length);
  return { ...report, perLabel: report.perLabel.map((figures, i) => ({ label: names[i]!, ...figures })) };
}

function checkNames(name: string, value: unknown): asserts value is readonly string[] {
  checkList(name, value);
  for (let i = 0; i < value.length; i++)
    if (typeof value[i] !== "string") throw invalidArgument(`${name}[${i}]`, "a label", value[i]);
}

function reportOf(truth: readonly number[], predicted: readonly number[], labels: number): ClassificationReport {
  checkWhole("labels", labels, 0, MAX_LABELS);
  checkIndices("truth", truth, labels);
  checkIndices("predicted", predicted, labels, truth.length);
  const [right, asTruth, asAnswer] = [0, 1, 2].map(() => new Float64Array(labels)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  truth.forEach((t, i) => {
    asTruth[t]! += 1;
    asAnswer[predicted[i]!]! += 1;
    if (t === predicted[i]) right[t]! += 1;
  });
  const perLabel = Array.from({ length: labels }, (_, l) => {
    const precision = asAnswer[l] ? right[l]! / asAnswer[l] : 0;
    const recall = asTruth[l] ? right[l]! / asTruth[l] : 0;
    const f1 = precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
    return { precision, recall, f1, support: asTruth[l]! };
  });
  const seen = perLabel.filter((_, l) => asTruth[l]! + asAnswer[l]! > 0);
  const count = truth.length;
  return {
    accuracy: count > 0 ? right.reduce((a, b) => a + b, 0) / count : Number.NaN,
    macroF1: mean(seen.map(({ f1 }) => f1)),
    perLabel,
    count,
  };
}

/** Returns the index of the largest number, or the first such index if several are equal. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
