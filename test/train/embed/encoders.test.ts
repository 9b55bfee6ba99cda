// Training of BERT-like encoders: classifiers, embedders and adapters are saved in transformers' layout and give the same answers.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openWeights } from "../../../lib/formats/weights.ts";
import { createModel } from "../../../lib/language-model/create.ts";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";

let folder: string;
let tokenizer: Tokenizer;

const kinds = { animal: ["cat", "dog", "bird", "horse"], tool: ["hammer", "saw", "drill", "knife"] };
const frames = ["Yesterday I saw a WORD here.", "The WORD is old.", "Do you like my WORD?", "Nobody wants the WORD."];
const rows = Object.entries(kinds).flatMap(([label, words]) =>
  words.flatMap((word) => frames.map((frame) => ({ text: frame.replace("WORD", word), label }))),
);
const words = rows.map(({ text, label }) => {
  const tokens = text.split(" ");
  const named = Object.values(kinds).flat();
  return { tokens, labels: tokens.map((word) => (named.includes(word.replace(/\W/g, "")) ? label : "other")) };
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-encoders-"));
  tokenizer = await Tokenizer.train(
    rows.map(({ text }) => text),
    { algorithm: "wordPiece", vocabSize: 160 },
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const sizes = { hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, numAttentionHeads: 4 };
const newModel = (modelType: string) =>
  createModel({ modelType, maxPositionEmbeddings: 40, initializerRange: 0.1, ...sizes }, { tokenizer, seed: 3 });
const options = { maxSteps: 60, perDeviceTrainBatchSize: 16, learningRate: 5e-3, warmupSteps: 5, seed: 7 };

const families = {
  roberta: { prefix: "roberta.", class: "Roberta", head: ["classifier.dense", "classifier.out_proj"] },
  "xlm-roberta": { prefix: "roberta.", class: "XLMRoberta", head: ["classifier.dense", "classifier.out_proj"] },
  distilbert: { prefix: "distilbert.", class: "DistilBert", head: ["pre_classifier", "classifier"] },
  electra: { prefix: "electra.", class: "Electra", head: ["classifier.dense", "classifier.out_proj"] },
};

async function namesIn(path: string): Promise<string[]> {
  const source = await openWeights(path);
  const names = source.names();
  source.close();
  return names;
}

describe.each(Object.entries(families))("%s", (modelType, family) => {
  test("trains and saves a classifier of texts", async () => {
    await using base = newModel(modelType);
    const outputDir = join(folder, `${modelType}-texts`);
    const { loss } = await trainClassifier(base, { ...options, data: rows, outputDir });
    expect(loss).toBeLessThan(0.2);
    const json = JSON.parse(await readFile(join(outputDir, "config.json"), "utf8"));
    expect(json.architectures).toEqual([`${family.class}ForSequenceClassification`]);
    const heads = (await namesIn(outputDir)).filter((name) => !name.startsWith(family.prefix));
    expect(heads.sort()).toEqual(family.head.flatMap((name) => [`${name}.bias`, `${name}.weight`]).sort());
    await using loaded = await LanguageModel.load(outputDir);
    const texts = rows.map(({ text }) => text);
    const answers = await loaded.classify(texts);
    expect(answers).toEqual(await base.classify(texts));
    const right = answers.filter(({ label }, i) => label === rows[i]!.label);
    expect(right.length).toBeGreaterThan(0.9 * rows.length);
  });

  test("trains and saves a classifier of words", async () => {
    await using base = newModel(modelType);
    const outputDir = join(folder, `${modelType}-words`);
    const { loss } = await trainClassifier(base, { ...options, data: words, outputDir });
    expect(loss).toBeLessThan(0.2);
    const json = JSON.parse(await readFile(join(outputDir, "config.json"), "utf8"));
    expect(json.architectures).toEqual([`${family.class}ForTokenClassification`]);
    const heads = (await namesIn(outputDir)).filter((name) => !name.startsWith(family.prefix));
    expect(heads.sort()).toEqual(["classifier.bias", "classifier.weight"]);
    await using loaded = await LanguageModel.load(outputDir);
    expect(await loaded.classifyTokens(rows[0]!.text)).toEqual(await base.classifyTokens(rows[0]!.text));
  });

  test("trains and saves an adapter with a head", async () => {
    await using base = newModel(modelType);
    const trunk = join(folder, `${modelType}-base`);
    await base.save(trunk);
    const outputDir = join(folder, `${modelType}-lora`);
    const lora = { r: 4, alpha: 8, targetModules: "all-linear" } as const;
    const { loss } = await trainClassifier(base, { ...options, data: rows, learningRate: 1e-2, lora, outputDir });
    expect(loss).toBeLessThan(0.3);
    const names = await namesIn(join(outputDir, "adapter_model.safetensors"));
    for (const name of family.head) expect(names).toContain(`base_model.model.${name}.weight`);
    await using loaded = await LanguageModel.load(trunk);
    await loaded.loadAdapter(outputDir);
    const texts = rows.map(({ text }) => text);
    expect(await loaded.classify(texts)).toEqual(await base.classify(texts));
  });

  test("trains and saves an embedder", async () => {
    await using base = newModel(modelType);
    const outputDir = join(folder, `${modelType}-vectors`);
    const pairs = Object.values(kinds)
      .flat()
      .map((word) => ({ anchor: frames[0]!.replace("WORD", word), positive: frames[1]!.replace("WORD", word) }));
    const { loss } = await trainEmbedding(base, { ...options, data: pairs, perDeviceTrainBatchSize: 8, outputDir });
    expect(loss).toBeLessThan(0.5);
    const json = JSON.parse(await readFile(join(outputDir, "sentence_bert_config.json"), "utf8"));
    expect(json.max_seq_length).toBe(40);
    await using loaded = await LanguageModel.load(outputDir);
    expect(loaded.contextLength).toBe(40);
    const texts = pairs.map(({ anchor }) => anchor);
    expect(await loaded.embed(texts)).toEqual(await base.embed(texts));
  });
});
