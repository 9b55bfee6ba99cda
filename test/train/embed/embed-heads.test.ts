// Embedding models can have layers after pooling. Training a classifier or a reward model on them leaves these layers unchanged.
import { describe, expect, test } from "vitest";
import type { EmbeddingConfig } from "../../../lib/formats/config/config.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { newModel } from "../../formats/sentence-transformers/embedding-folders.ts";

const layers = [
  { type: "dense", outFeatures: 12, bias: true, activation: "tanh" },
  { type: "layer_norm" },
] satisfies EmbeddingConfig["layers"];
const shared = { maxSteps: 2, perDeviceTrainBatchSize: 2, learningRate: 1e-2, seed: 1 };
const lora = { r: 2, targetModules: "all-linear" } as const;
const rows = ["cat", "dog", "bird", "tree"].map((word, i) => ({ text: `the ${word}`, label: i % 2 ? "a" : "b" }));
const pairs = ["cat", "dog"].map((word) => ({ prompt: "the ", chosen: word, rejected: "mat" }));

async function layersOf({ model }: LanguageModel): Promise<Float32Array[]> {
  const names = model.weightNames.filter((name) => name.startsWith("embedding_layers."));
  expect(names.length).toBe(4);
  return Promise.all(names.map((name) => model.weight(name).toFloat32()));
}

/** Trains a saved model and checks the written files. */
async function check(
  modelType: "bert" | "llama",
  train: (model: LanguageModel, outputDir: string) => PromiseLike<unknown>,
) {
  const [base, outputDir, adapter] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
  await using made = newModel(modelType, { layers });
  await made.save(base);
  const before = await layersOf(made);
  await using model = await LanguageModel.load(base);
  await train(model, outputDir);
  expect(await layersOf(model)).toEqual(before);
  const vector = await model.embed("the cat");
  const reads = async (other: LanguageModel) => {
    expect(other.config.classifier).toEqual(model.config.classifier);
    expect(other.config.embedding).toEqual(model.config.embedding);
    expect(await layersOf(other)).toEqual(before);
    for (const [i, v] of (await other.embed("the cat")).entries()) expect(v).toBeCloseTo(vector[i]!, 4);
  };
  await using loaded = await LanguageModel.load(outputDir);
  await reads(loaded);
  const [name] = model.model.activeAdapters;
  if (name === undefined) return;
  await model.saveAdapter(adapter, { name });
  await using other = await LanguageModel.load(base);
  await other.loadAdapter(adapter);
  await reads(other);
}

describe.each(["bert", "llama"] as const)("%s", (modelType) => {
  test.each([
    ["whole", {}],
    ["LoRA", { lora }],
    ["head", { trainable: "head" }],
  ] as const)("training a classifier (%s) leaves the embedding layers unchanged", (_, more) =>
    check(modelType, (model, outputDir) => trainClassifier(model, { ...shared, ...more, data: rows, outputDir })),
  );
});

test.each([
  ["whole", {}],
  ["LoRA", { lora }],
] as const)("training a reward model (%s) leaves the embedding layers unchanged", (_, more) =>
  check("llama", (model, outputDir) => trainReward(model, { ...shared, ...more, data: pairs, outputDir })),
);

test("a classifier can be trained on a model with a value head", async () => {
  await using model = newModel("llama");
  await model.model.addValueHead();
  await trainClassifier(model, { ...shared, data: rows, outputDir: temporaryFolder() });
});
