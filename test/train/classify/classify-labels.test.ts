// How a classifier's labels are determined.
import { expect, test } from "vitest";
import { allKept, splitExamples } from "../../../lib/train/examples/example-source.ts";
import { type TrainClassifierOptions, trainClassifier } from "../../../lib/train/stages/classify.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

const COUNT = 20;
const options = { evalFraction: 0.3, maxSteps: 1, perDeviceTrainBatchSize: 4, learningRate: 1e-3 };
const numbers = Array.from({ length: COUNT }, (_, i) => i);
const rare = splitExamples(allKept(numbers), options.evalFraction).heldOut[0]!;
const data = numbers.map((i) => ({
  text: sentences[i % sentences.length]!,
  label: i === rare ? "rare" : i % 2 ? "odd" : "even",
}));

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() });

test("the classes include a label that occurs only in held-out rows", async () => {
  await using base = await newModel();
  const given: TrainClassifierOptions = { ...options, data };
  await trainClassifier(base, given);
  expect(base.model.config.classifier?.labels).toEqual(["even", "odd", "rare"]);
});

test("a label that occurs only in evalData is rejected with its row", async () => {
  await using base = await newModel();
  const run = trainClassifier(base, { ...options, data: data.filter(({ label }) => label !== "rare"), evalData: data });
  await expect(run).rejects.toThrow(/^evalData: row \d+: label: expected one of even, odd \(labels\), got "rare"$/);
});
