// Every decoder family of families.json, in each of its configurations: GGUF files of other programs, quantization, batches, training
// and adapters. Weights are random, and the vocabulary is that of a tokenizer.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { formatOf } from "../../lib/formats/config/families.ts";
import { familyOfArchitecture } from "../../lib/formats/gguf/gguf-names.ts";
import { LanguageModel, sft } from "../../lib/index.ts";
import { withoutHeddleKeys } from "../convert/foreign-gguf.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { type FamilyGolden, familyConfig, familyGoldens } from "../golden/families.ts";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { generator } from "../ops/harness.ts";

const ids = [5, 17, 240, 99, 3, 17, 240, 60, 71, 300];

/** A model with random norms and biases, so that swapped vectors are detected. */
async function modelOf(golden: FamilyGolden, more: object = {}): Promise<LanguageModel> {
  const config = { ...familyConfig(golden), initializerRange: 0.4, ...more };
  const model = tinyModel({ tokenizer: await tinyTokenizer() }, config);
  const random = generator(3);
  for (const name of model.model.weightNames) {
    const tensor = model.model.weight(name);
    if (tensor.shape.length > 1 && !name.endsWith("_norm.weight")) continue;
    const values = (await tensor.read()) as Float32Array;
    await tensor.write(values.map((v) => v + 0.2 * (random() - 0.5)));
  }
  return model;
}

async function folderOf(golden: FamilyGolden, more: object = {}): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  await using model = await modelOf(golden, more);
  await model.save(folder);
  return folder;
}

/** Configurations that llama.cpp's keys do not hold, each with a value that would be lost. */
const notInKeys: Readonly<Record<string, string>> = {
  gemma2: "queryPreAttnScalar",
  gemma3: "queryPreAttnScalar",
  "gpt_neox in sequence, its newer dialect": "hiddenAct",
  gpt_oss: "swigluLimit",
  "olmoe with shares of one, in rope_parameters": "normTopkProb",
  "qwen2_moe, every second layer, in rope_parameters": "decoderSparseStep",
  "qwen3 with yarn, untruncated": "truncate",
  "qwen3_moe, every second layer": "decoderSparseStep",
  "smollm3 with a window": "slidingWindow",
};

describe.each(familyGoldens)("$name", (golden) => {
  const { gguf } = formatOf(golden.config.model_type);
  const config = familyConfig(golden);
  const { embeddingMultiplier, residualMultiplier, logitsScaling, logitScale } = config;
  const hasFactors = [embeddingMultiplier, residualMultiplier, logitsScaling, logitScale].some((f) => f !== undefined);
  const hasFile = gguf !== undefined && config.ropeScaling?.ropeType !== "dynamic";

  test.skipIf(!hasFile || golden.name in notInKeys)(
    "loads equal weights from a GGUF file without heddle's keys",
    async () => {
      const folder = await folderOf(golden);
      const file = join(temporaryFolder(), "model.gguf");
      await convertModel(folder, file);
      await using a = await LanguageModel.load(folder);
      await using b = await LanguageModel.load(await withoutHeddleKeys(file));
      expect(await b.logits(ids)).toEqual(await a.logits(ids));
      // Without heddle's keys, such a file loads as the other family of its architecture, which may name and fuse weights otherwise.
      if (gguf?.sharedWhen === "named") return expect(b.config.modelType).toBe(familyOfArchitecture(gguf.architecture));
      expect(b.config.modelType).toBe(a.config.modelType);
      expect(b.model.weightNames).toEqual(a.model.weightNames);
      // GGUF files of Gemma hold norm weights plus one, rounded to f32.
      const rounding = gguf?.layout === "norm" ? 2 ** -23 : 0;
      for (const name of a.model.weightNames) {
        const wanted = (await a.model.weight(name).read()) as Float32Array;
        const got = (await b.model.weight(name).read()) as Float32Array;
        expect(got.length, name).toBe(wanted.length);
        const worst = wanted.reduce((most, v, i) => Math.max(most, Math.abs(v - got[i]!) / (1 + Math.abs(v))), 0);
        expect(worst, name).toBeLessThanOrEqual(rounding);
      }
    },
  );

  test.skipIf(!hasFile)("gives the same model whether quantized in the file or on load", async () => {
    const folder = await folderOf(golden);
    const [plain, narrow] = ["plain", "narrow"].map((name) => join(temporaryFolder(), `${name}.gguf`));
    await convertModel(folder, plain!);
    await convertModel(folder, narrow!, { dtype: "q8_0" });
    await using a = await LanguageModel.load(narrow!);
    const wanted = await a.logits(ids);
    for (const path of [folder, plain!]) {
      await using b = await LanguageModel.load(path, { dtype: "q8_0" });
      expect(await b.logits(ids)).toEqual(wanted);
    }
    const back = join(temporaryFolder(), "back");
    await convertModel(narrow!, back);
    await using c = await LanguageModel.load(back);
    for (const name of c.model.weightNames) expect(c.model.weight(name).shape).toEqual(a.model.weight(name).shape);
  });

  test("gives the same answers in a batch as alone", async () => {
    await using model = await modelOf(golden);
    const options = { maxTokens: 12, temperature: 0, ignoreEos: true };
    const prompts = [ids, ids.slice(0, 3), ids.slice(4)];
    const alone = [];
    for (const prompt of prompts) alone.push((await model.complete(prompt, options)).tokens);
    const together = await model.completeAll(prompts, options);
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
  });

  test.each(["full", "lora"] as const)(
    "%s training lowers the loss, and the saved model is the same",
    async (method) => {
      // Factors make the logits small. Larger weights make up for that, so that 20 steps suffice.
      const folder = await folderOf(golden, { initializerRange: hasFactors ? 0.8 : 0.05 });
      await using model = await LanguageModel.load(folder);
      const path = join(temporaryFolder(), "out");
      const data = sentences.map((text) => ({ text }));
      const losses: number[] = [];
      const maxSeqLength = Math.min(32, config.maxPositionEmbeddings!);
      const how = method === "lora" ? { lora: { r: 4 }, learningRate: 2e-2 } : { learningRate: 5e-3 };
      for await (const event of sft(model, { data, maxSteps: 20, maxSeqLength, outputDir: path, ...how }))
        if ("loss" in event) losses.push(event.loss);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.9);
      const wanted = await model.logits("The cat saw");
      await using again = await LanguageModel.load(path);
      expect(await again.logits("The cat saw")).toEqual(wanted);
      if (method === "full") expect(await weightNames(path)).toEqual(await weightNames(folder));
    },
  );
});

/** The names of weights that a folder's file has, sorted. */
async function weightNames(folder: string): Promise<string[]> {
  const file = await readFile(join(folder, "model.safetensors"));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString()) as object;
  return Object.keys(header)
    .filter((name) => name !== "__metadata__")
    .sort();
}
