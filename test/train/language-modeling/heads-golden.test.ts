import { describe, expect, test } from "vitest";
import type { ClassifierConfigInput } from "../../../lib/formats/config/config.ts";
import { openDevice } from "../../../lib/graph/index.ts";
import { classifierOutputs } from "../../../lib/language-model/embed/classify.ts";
import { headNames, trunkNames } from "../../../lib/models/heads.ts";
import type { Model } from "../../../lib/models/model.ts";
import type { LabeledExample } from "../../../lib/train/examples/classify-rows.ts";
import type { Stage } from "../../../lib/train/loop/stage.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { type ClassifierLossOptions, classification } from "../../../lib/train/losses/classify-loss.ts";
import { contrastive, type PairExample } from "../../../lib/train/losses/embed-loss.ts";
import golden from "../../golden/heads.json" with { type: "json" };
import { type GoldenName, goldenModel, hashed } from "../../golden/weights.ts";

const device = openDevice();

/** Unit roundoff of f32. The golden values are computed in float64. */
const U = 2 ** -24;
/**
 * Tolerance of a value after `sums` sums in sequence, of up to 56 terms each, relative to the value's range. Rounding errors are independent,
 * so the standard deviation of their sum grows with the root of their number. The tolerance is six standard deviations.
 */
const rounded = (sums: number) => 6 * Math.sqrt(sums * 56) * U;
/** Two layers have eight sums each: norm, query, scores, mixture, output, norm, up and down. The last norm and the head follow. */
const FORWARD = rounded(2 * 8 + 2);
/** The backward pass has as many sums as the forward pass. */
const BACKWARD = rounded(2 * (2 * 8 + 2));
/**
 * Tolerance of losses after updates. AdamW divides a gradient's elements by their magnitudes, so elements within the rounding error move by up
 * to the learning rate in any direction. This tolerance is a tenth of the learning rate.
 */
const AFTER_UPDATES = 1e-4;

interface StepValues {
  trunk: string;
  gradients: Record<string, { norm: number; first: number[] }>;
  losses: number[];
}

/** Creates the golden trunk with a head of hashed weights, as in scripts/golden/heads.py. */
async function modelWith(trunk: string, classifier: ClassifierConfigInput): Promise<Model> {
  const model = await goldenModel(trunk as GoldenName, device);
  await model.addClassifier(classifier);
  for (const name of headNames(model.config)) {
    const bias = name.endsWith("bias");
    const values = hashed(bias ? 501 : 500, model.weight(name).elements);
    await model.weight(name).write(Float32Array.from(values, (v) => v * (bias ? 0.2 : 0.4)));
  }
  return model;
}

/** Checks the loss, every gradient and three steps of a stage on one batch against the golden values. */
async function expectSteps<Batch>(
  model: Model,
  stage: Stage<Batch>,
  batches: readonly Batch[],
  shape: { sequences: number; sequenceLength: number },
  expected: StepValues,
): Promise<void> {
  const names = [...trunkNames(model.config), ...headNames(model.config)];
  const adamw = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1, names };
  const step = await TrainStep.create(model, stage, { ...shape, dtype: "f32" }, adamw);
  const first = await step.accumulate(batches);
  expect(Math.abs(first.loss / expected.losses[0]! - 1)).toBeLessThan(FORWARD);
  expect(Object.keys(expected.gradients).sort()).toEqual([...names].sort());
  // Some gradients are zero in exact arithmetic. In f32 they have the rounding error of terms that cancel, of the size of the whole gradient.
  const rounding = 2 * U * Math.hypot(...Object.values(expected.gradients).map(({ norm }) => norm));
  for (const [weight, { norm, first: values }] of Object.entries(expected.gradients)) {
    const got = await step.optimizer.gradients.get(`gradient.${weight}`)!.toFloat32();
    const gotNorm = Math.sqrt(got.reduce((n, g) => n + g * g, 0));
    expect(Math.abs(gotNorm - norm), weight).toBeLessThan(BACKWARD * norm + rounding);
    values.forEach((g, i) => {
      expect(Math.abs(got[i]! - g), `${weight}[${i}]`).toBeLessThan(BACKWARD * norm + rounding);
    });
  }
  for (const [i, loss] of expected.losses.entries()) {
    const { loss: got } = await step.run(batches, 1e-3);
    expect(Math.abs(got / loss - 1), `loss of step ${i + 1}`).toBeLessThan(i === 0 ? FORWARD : AFTER_UPDATES);
  }
  step.dispose();
  model.dispose();
}

const sequenceCases = Object.entries(golden.sequence) as [string, (typeof golden.sequence)["last"]][];
describe.each(sequenceCases)("classification of texts (%s) against PyTorch in float64", (_, c) => {
  const classifier = {
    task: "sequence",
    labels: Array.from({ length: c.labels }, (_, i) => `label ${i}`),
    problemType: c.problemType as ClassifierLossOptions["classifier"]["problemType"],
    pooling: c.pooling as ClassifierLossOptions["classifier"]["pooling"],
  } as const;
  const examples = c.ids.map((ids, i): LabeledExample => {
    const target = c.targets[i] as unknown as number | number[];
    return {
      ids: Uint32Array.from(ids),
      at: new Int32Array(),
      targets: Int32Array.of(typeof target === "number" ? target : 0),
      ...(typeof target !== "number" && { values: Float32Array.from(target) }),
    };
  });
  const stageOf = (sequences: number) =>
    classification({
      classifier: { ...classifier, labels: [...classifier.labels] },
      sequences,
      sequenceLength: 24,
      padTokenId: 7,
      outputs: 1,
      classWeights: c.weights ?? undefined,
      labelSmoothingFactor: c.smoothing,
    });
  const create = () => modelWith(c.trunk, { ...classifier, labels: [...classifier.labels] });

  test("loss, every gradient and three AdamW steps agree, for padded batches", async () => {
    const shape = { sequences: 4, sequenceLength: 24 };
    await expectSteps(await create(), stageOf(4), [examples], shape, c as unknown as StepValues);
  });

  test("accumulated micro-batches, one of them not full, give the same result", async () => {
    const shape = { sequences: 3, sequenceLength: 24 };
    const parts = [examples.slice(0, 3), examples.slice(3)];
    await expectSteps(await create(), stageOf(3), parts, shape, c as unknown as StepValues);
  });

  test("inference gives the same logits", async () => {
    const model = await create();
    const got = await classifierOutputs(model, c.ids, { contextLength: 24 });
    const range = Math.max(...c.logits.flat().map(Math.abs));
    for (const [i, logits] of c.logits.entries())
      for (const [l, expected] of logits.entries())
        expect(Math.abs(got[i]![l]! - expected)).toBeLessThan(FORWARD * range);
    model.dispose();
  });
});

test.each(Object.keys(golden.token) as (keyof typeof golden.token)[])(
  "classification of words (%s) agrees with PyTorch in float64",
  async (name) => {
    const c = golden.token[name];
    const labels = ["a", "b", "c", "d"];
    const model = await modelWith(c.trunk, { task: "token", labels });
    const examples = c.ids.map((ids, i) => ({
      ids: Uint32Array.from(ids),
      at: Int32Array.from(c.at[i]!),
      targets: Int32Array.from(c.targets[i]!),
    }));
    const shape = { sequences: 3, sequenceLength: 16 };
    const stage = classification({
      classifier: model.config.classifier!,
      ...shape,
      padTokenId: 0,
      outputs: 4,
      labelSmoothingFactor: 0,
    });
    await expectSteps(model, stage, [examples], shape, c as unknown as StepValues);
  },
);

describe.each(Object.entries(golden.contrastive))("InfoNCE (%s) against PyTorch in float64", (_, c) => {
  const batch = c.anchors.map(
    (anchor, i): PairExample => ({
      anchor: Uint32Array.from(anchor),
      positive: Uint32Array.from(c.positives[i]!),
      negatives: c.negatives[i] ? [Uint32Array.from(c.negatives[i])] : [],
    }),
  );
  const stageOf = (pairs: number, negatives: number, width: number) =>
    contrastive({
      width,
      pairs,
      negatives,
      pooling: c.pooling as "mean" | "last",
      temperature: c.temperature,
      symmetric: c.symmetric,
      sequenceLength: 16,
      padTokenId: 3,
    });

  test.each([
    ["a full batch", 0],
    ["a batch with a masked pair and a masked negative", 1],
  ])("loss, every gradient and three AdamW steps agree: %s", async (_, more) => {
    const model = await goldenModel(c.trunk as GoldenName, device);
    const pairs = batch.length + more;
    const negatives = (c.negatives.length > 0 ? 1 : 0) + more;
    const shape = { sequences: pairs * (2 + negatives), sequenceLength: 16 };
    const stage = stageOf(pairs, negatives, model.config.hiddenSize);
    await expectSteps(model, stage, [batch], shape, c as unknown as StepValues);
  });
});
