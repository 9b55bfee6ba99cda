import type { ClassifierConfig } from "../../formats/config/config.ts";
import {
  add,
  cast,
  gatherRows,
  input,
  linear,
  mul,
  reshape,
  scale,
  softplus,
  sub,
  sum,
  tokenLogprob,
  type Value,
} from "../../graph/index.ts";
import { argmax } from "../../metrics/classification.ts";
import { classifierLogits } from "../../models/heads.ts";
import type { LabeledExample } from "../examples/classify-rows.ts";
import type { LossContext, Metrics, Stage } from "../loop/stage.ts";

/** Shape of a batch whose ids are padded. */
export interface PaddedShape {
  sequences: number;
  sequenceLength: number;
  padTokenId: number;
}

/** Options of a classifier's loss. */
export interface ClassifierLossOptions extends PaddedShape {
  classifier: ClassifierConfig;
  /** Number of outputs of a sequence: the maximum number of labeled words, or 1 for whole texts. */
  outputs: number;
  /** Weight of each label. */
  classWeights?: ArrayLike<number> | undefined;
  /** Share of a target that is spread over all labels (Szegedy et al. 2016). */
  labelSmoothingFactor: number;
}

/** Ids of examples, one padded sequence after the other, (sequences · sequenceLength). Padding follows the text. */
export function paddedIds(
  examples: readonly { ids: ArrayLike<number> }[],
  { sequences, sequenceLength, padTokenId }: PaddedShape,
): Int32Array {
  const ids = new Int32Array(sequences * sequenceLength).fill(padTokenId);
  for (const [s, example] of examples.entries()) ids.set(Array.from(example.ids), s * sequenceLength);
  return ids;
}

/** Marks text rows (0) and padding rows (−1) of `paddedIds`. Attention ignores padding. */
export function paddedDocuments(
  examples: readonly { ids: ArrayLike<number> }[],
  { sequences, sequenceLength }: PaddedShape,
): Int32Array {
  const documents = new Int32Array(sequences * sequenceLength).fill(-1);
  for (const [s, { ids }] of examples.entries()) documents.fill(0, s * sequenceLength, s * sequenceLength + ids.length);
  return documents;
}

/** The input with the marks of `paddedDocuments`, (rows) i32. */
export function paddingMask(rows: number): Value {
  return input("documents", "i32", [rows]);
}

/**
 * Pools the hidden states of a micro-batch's sequences. Padding follows the text, so causal attention does not see it.
 * The input `wanted` (outputs) holds row indices. For a mean, the input `pool` (outputs, rows) holds each row's weight.
 * @returns (outputs, width) f32
 */
function pooledRows(hidden: Value, pooling: ClassifierConfig["pooling"], outputs: number): Value {
  if (pooling === "mean") {
    const pool = input("pool", "f32", [outputs, hidden.dim(0)]);
    return linear(pool, cast(hidden, "f32"), undefined, { transposed: true });
  }
  return cast(gatherRows(hidden, input("wanted", "i32", [outputs])), "f32");
}

/** Builds the inputs of `pooledRows` for padded examples. */
function poolingInputs(
  examples: readonly { ids: ArrayLike<number> }[],
  pooling: ClassifierConfig["pooling"],
  { sequences, sequenceLength }: PaddedShape,
): Record<string, Int32Array | Float32Array> {
  if (pooling === "mean") {
    const rows = sequences * sequenceLength;
    const pool = new Float32Array(sequences * rows);
    for (const [s, { ids }] of examples.entries()) {
      const first = s * rows + s * sequenceLength;
      pool.fill(1 / ids.length, first, first + ids.length);
    }
    return { pool };
  }
  const last = (s: number) => (pooling === "last" ? (examples[s]?.ids.length ?? 1) - 1 : 0);
  return { wanted: Int32Array.from({ length: sequences }, (_, s) => s * sequenceLength + last(s)) };
}

/**
 * A classifier's stage. The loss is the cross-entropy for single labels, the mean binary cross-entropy for multi-label tasks, and the
 * squared error for regression. It is the mean over the rows (or words) of a whole step.
 *
 * With class weights the cross-entropy is that of PyTorch's `CrossEntropyLoss(weight, label_smoothing)`: the sum of weighted terms over the
 * sum of the targets' weights.
 */
export function classification(options: ClassifierLossOptions): Stage<LabeledExample[]> {
  const { classifier, sequences, outputs } = options;
  const weights = classifier.problemType === "single_label_classification" ? options.classWeights : undefined;
  const words = classifier.task === "token";
  const count = sequences * outputs;
  const labels = classifier.labels.length;
  const targetsOf = (batch: LabeledExample[]) => {
    const targets = new Int32Array(count).fill(-1);
    for (const [s, example] of batch.entries()) targets.set(example.targets, s * outputs);
    return targets;
  };
  return {
    name: "classify",
    count: (batch) => batch.reduce((n, { targets }) => n + targets.filter((t) => t >= 0).length, 0),
    ...(weights && {
      weight: (batch: LabeledExample[]) =>
        batch.reduce((sum, { targets }) => targets.reduce((n, t) => n + (t < 0 ? 0 : weights[t]!), sum), 0),
    }),
    collate(batch, total, weight) {
      const targets = targetsOf(batch);
      const pooled = words ? { wanted: wordRows(batch, options) } : poolingInputs(batch, classifier.pooling, options);
      return {
        inputs: {
          ids: paddedIds(batch, options),
          documents: paddedDocuments(batch, options),
          ...pooled,
          ...targetInputs(batch, targets, { total, weight, weights }, options),
        },
        tokens: batch.reduce((n, { ids }) => n + ids.length, 0),
        counted: targets.filter((t) => t >= 0).length,
      };
    },
    loss(context) {
      const logits = outputLogits(context, options, count);
      const { problemType } = classifier;
      if (problemType === "single_label_classification")
        return { loss: crossEntropyOf(logits, options, count), logits };
      const rows = input("rowWeights", "f32", [count, labels]);
      const values = input("values", "f32", [count, labels]);
      if (problemType === "regression") {
        const error = sub(logits, values);
        return { loss: sum(mul(mul(error, error), rows)), logits };
      }
      return { loss: sum(mul(sub(softplus(logits), mul(logits, values)), rows)), logits };
    },
    metrics(results, batches): Metrics {
      if (classifier.problemType !== "single_label_classification") return {};
      let right = 0;
      let all = 0;
      for (const [i, batch] of batches.entries())
        for (const [row, target] of targetsOf(batch).entries()) {
          if (target < 0) continue;
          all += 1;
          if (argmax((results[i]!.logits as Float32Array).subarray(row * labels, (row + 1) * labels)) === target)
            right += 1;
        }
      return all > 0 ? { accuracy: right / all } : {};
    },
  };
}

/** Returns the logits of a micro-batch, (count, labels) f32. */
function outputLogits(context: LossContext, options: ClassifierLossOptions, count: number): Value {
  const pass = context.forward({ documents: paddingMask(context.rows) });
  const { task, pooling } = options.classifier;
  const pooled = pooledRows(pass.hidden, task === "token" ? "last" : pooling, count);
  return classifierLogits(pass, context.model.config, pooled);
}

/** Returns the weighted sum of the rows' cross-entropies, with label smoothing. */
function crossEntropyOf(
  logits: Value,
  { classifier, labelSmoothingFactor }: ClassifierLossOptions,
  count: number,
): Value {
  const labels = classifier.labels.length;
  // Express the logits as a product with the identity matrix, to use the numerically stable op for vocabularies.
  const { logprob } = tokenLogprob(logits, input("unit", "f32", [labels, labels]), input("targets", "i32", [count]));
  const weighted = mul(reshape(logprob, [count]), input("rowWeights", "f32", [count]));
  const likelihood = sum(weighted);
  if (labelSmoothingFactor === 0) return scale(likelihood, -1);
  // Label smoothing needs log p of all labels. The difference of two labels' log p equals that of their logits, so
  // `spread` weights logits instead: see targetInputs.
  return scale(add(likelihood, sum(mul(logits, input("spread", "f32", [count, labels])))), -1);
}

/**
 * Rows of the words' tokens. A truncated word refers to its sequence's first row, and an unused output to row 0. Both
 * have weight 0.
 */
function wordRows(batch: LabeledExample[], { sequences, sequenceLength, outputs }: ClassifierLossOptions): Int32Array {
  const wanted = new Int32Array(sequences * outputs);
  for (const [s, { at }] of batch.entries())
    for (const [w, token] of at.entries()) wanted[s * outputs + w] = s * sequenceLength + Math.max(0, token);
  return wanted;
}

function targetInputs(
  batch: LabeledExample[],
  targets: Int32Array,
  { total, weight, weights }: { total: number; weight: number; weights: ArrayLike<number> | undefined },
  options: ClassifierLossOptions,
): Record<string, Int32Array | Float32Array> {
  const { classifier, labelSmoothingFactor: share } = options;
  const labels = classifier.labels.length;
  const count = targets.length;
  if (classifier.problemType !== "single_label_classification") {
    const values = new Float32Array(count * labels);
    const rowWeights = new Float32Array(count * labels);
    for (const [s, example] of batch.entries()) {
      values.set(example.values!, s * labels);
      rowWeights.fill(1 / (total * labels), s * labels, (s + 1) * labels);
    }
    return { values, rowWeights };
  }
  const unit = new Float32Array(labels * labels);
  for (let l = 0; l < labels; l++) unit[l * labels + l] = 1;
  const shares = Array.from({ length: labels }, (_, label) => (weights?.[label] ?? 1) / weight);
  const all = shares.reduce((sum, one) => sum + one, 0);
  // Smoothing adds −share / labels · Σ wₗ log pₗ. With log pₗ = zₗ − z_target + log p_target, it needs only the logits
  // and one logprob.
  const rowWeights = Float32Array.from(targets, (t) =>
    t < 0 ? 0 : share === 0 ? shares[t]! : (1 - share) * shares[t]! + (share / labels) * all,
  );
  if (share === 0) return { unit, targets, rowWeights };
  const spread = new Float32Array(count * labels);
  for (const [row, target] of targets.entries()) {
    if (target < 0) continue;
    for (let l = 0; l < labels; l++)
      spread[row * labels + l] = (share / labels) * (shares[l]! - (l === target ? all : 0));
  }
  return { unit, targets, rowWeights, spread };
}
