import { expect, test } from "vitest";
import { compareClassifiers, compareTrainedClassifiers } from "../../lib/eval/compare.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError } from "../formats/helpers.ts";

const moods = { good: ["lovely", "bright", "kind", "warm"], bad: ["awful", "gloomy", "cruel", "cold"] } as const;
const things = ["film", "book", "day", "meal", "song"];
const rows = (["good", "bad"] as const).flatMap((label) =>
  moods[label].flatMap((word) =>
    things.flatMap((t) => [
      { text: `A ${word} ${t}.`, label },
      { text: `The ${t} was ${word}.`, label },
    ]),
  ),
);
// Sort in an order unrelated to the label.
rows.sort((a, b) => (a.text.split(" ").reverse().join() < b.text.split(" ").reverse().join() ? -1 : 1));

test("compareTrainedClassifiers compares one base model as a generative and a discriminative model, before and after training on the same rows", async () => {
  const texts = rows.map(({ text, label }) => `${text}\nLabel: ${label}`);
  const tokenizer = await Tokenizer.train(texts, { vocabSize: 330 });
  const load = async () =>
    createModel(
      {
        modelType: "llama",
        hiddenSize: 32,
        intermediateSize: 64,
        numHiddenLayers: 2,
        numAttentionHeads: 4,
        maxPositionEmbeddings: 64,
      },
      { tokenizer, seed: 2 },
    );
  const steps: Record<string, number> = { discriminative: 0, generative: 0 };
  const table = await compareTrainedClassifiers(load, {
    data: rows,
    evalFraction: 0.25,
    training: { maxSteps: 60, perDeviceTrainBatchSize: 12, learningRate: 5e-3, warmupSteps: 5, seed: 1 },
    onEvent: (kind, event) => {
      if ("loss" in event) steps[kind]! += 1;
    },
  });
  expect(steps).toEqual({ discriminative: 60, generative: 60 });
  expect(table.map(({ name, kind }) => `${kind} ${name}`)).toEqual([
    "discriminative before",
    "discriminative after",
    "generative before",
    "generative after",
  ]);
  const [headBefore, headAfter, textBefore, textAfter] = table;
  for (const { count, accuracy, macroF1, ece, nll } of table) {
    expect(count).toBeGreaterThan(10);
    for (const share of [accuracy, macroF1, ece]) {
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
    }
    expect(nll).toBeGreaterThan(0);
  }
  // Before training both kinds guess. Afterwards both know the labels.
  for (const before of [headBefore!, textBefore!]) expect(Math.abs(before.nll - Math.LN2)).toBeLessThan(0.3);
  for (const after of [headAfter!, textAfter!]) {
    expect(after.accuracy).toBeGreaterThan(0.85);
    expect(after.nll).toBeLessThan(0.4);
  }
});

test("compareTrainedClassifiers gives both trainings the options that both have, and the other options to the classifier alone", async () => {
  const tokenizer = await Tokenizer.train(
    rows.map((r) => r.text),
    { vocabSize: 300 },
  );
  const load = async () =>
    createModel(
      { modelType: "llama", hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, maxPositionEmbeddings: 64 },
      { tokenizer },
    );
  const warnings: string[] = [];
  const seen: Record<string, object[]> = { discriminative: [], generative: [] };
  const data = rows.slice(0, 16);
  await compareTrainedClassifiers(load, {
    data,
    evalFraction: 0.25,
    training: {
      maxSteps: 4,
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: 2,
      loggingSteps: 2,
      learningRate: 1e-3,
      lrScheduler: "constant",
      warmupSteps: 0,
      evalSteps: 2,
      pooling: "mean",
      calibrate: false,
      onWarning: (message) => warnings.push(message),
    },
    sft: { learningRate: 2e-3, packing: false },
    onEvent: (kind, event) => {
      const { step } = event;
      seen[kind]!.push("loss" in event ? { step, learningRate: event.learningRate } : { evaluatedAt: step });
    },
  });
  const events = (learningRate: number) => [
    { step: 2, learningRate },
    { evaluatedAt: 2 },
    { step: 4, learningRate },
    { evaluatedAt: 4 },
  ];
  expect(seen).toEqual({ discriminative: events(1e-3), generative: events(2e-3) });
  expect(warnings).toEqual([]);
  // The schema of each training checks the values, so an option that reaches it with a wrong value is an error.
  const trained = (training: object, more: object = {}) =>
    compareTrainedClassifiers(load, { data, evalFraction: 0.25, training: { maxSteps: 1, ...training }, ...more });
  const classify = { weightDecay: 0 };
  await expectError(() => trained({ weightDecay: -1 }, { classify }), "INVALID_ARGUMENT", /weightDecay/);
  await expectError(
    () => trained({ outputDir: "x" }),
    "INVALID_ARGUMENT",
    /training\.outputDir: expected an outputDir in classify and one in sft/,
  );
  await expectError(() => trained({ packing: true }), "INVALID_ARGUMENT", /packing/);
});

test("compareClassifiers compares generative and discriminative models, and rejects rows with an unknown label or with tokens", async () => {
  const tokenizer = await Tokenizer.train(
    rows.map((r) => r.text),
    { vocabSize: 300 },
  );
  await using model = createModel(
    {
      modelType: "llama",
      hiddenSize: 16,
      numHiddenLayers: 1,
      numAttentionHeads: 2,
      maxPositionEmbeddings: 64,
      tieWordEmbeddings: true,
    },
    { tokenizer },
  );
  await model.model.addClassifier({ task: "sequence", labels: ["good", "bad"] });
  const table = await compareClassifiers(
    [
      { name: "head", model, kind: "discriminative" },
      { name: "text", model, kind: "generative" },
    ],
    rows,
    { labels: ["good", "bad"], template: "{text} It is" },
  );
  const answers = await model.classify(rows.map((r) => r.text));
  const right = answers.filter((a, i) => a.label === rows[i]!.label).length;
  expect(table[0]).toMatchObject({ name: "head", count: rows.length, accuracy: right / rows.length });
  const nll = answers.reduce((sum, a, i) => sum - Math.log(a.probabilities[rows[i]!.label]!), 0) / rows.length;
  expect(table[0]!.nll).toBeCloseTo(nll, 5);
  expect(table[1]!.count).toBe(rows.length);
  await expectError(
    () => compareClassifiers([], rows, { labels: ["good"] }),
    "INVALID_ARGUMENT",
    /label: expected one of good, got bad/,
  );
  await expectError(() => compareClassifiers([], [{ tokens: ["a"], labels: ["x"] }]), "INVALID_ARGUMENT", /got tokens/);
});
