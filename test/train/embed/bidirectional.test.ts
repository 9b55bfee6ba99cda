// Training of bidirectional decoders: embeddings, classifiers and adapters work as for any model; language modelling is rejected.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { createModel, LanguageModel } from "../../../lib/language-model/index.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import { cased } from "../../formats/sentence-transformers/embedding-folders.ts";

const layers = [24, 16].map((outFeatures) => ({
  ...{ type: "dense" as const, outFeatures, bias: false },
  activation: "identity" as const,
}));
const prompts = { query: "task: search result | query: ", document: "title: none | text: " };
const newModel = () =>
  createModel(
    {
      ...{ modelType: "gemma3_text", useBidirectionalAttention: true, slidingWindow: 6, maxPositionEmbeddings: 64 },
      ...{ hiddenSize: 16, intermediateSize: 24, numHiddenLayers: 3, numAttentionHeads: 2, initializerRange: 0.3 },
      layerTypes: ["sliding_attention", "sliding_attention", "full_attention"],
      embedding: { pooling: "mean", normalize: true, layers, prompts },
    },
    { tokenizer: cased, seed: 4 },
  );

const words = ["cat", "dog", "bird", "tree", "mat", "old"];
const shared = { maxSteps: 12, perDeviceTrainBatchSize: 4, learningRate: 5e-3, seed: 1 };
const pairs = words.map((word) => ({ anchor: `the ${word}`, positive: `a ${word} sat` }));
const rows = words.map((word, i) => ({ text: `the ${word}`, label: i % 2 ? "a" : "b" }));
const lora = { r: 2, targetModules: "all-linear" } as const;

describe("EmbeddingGemma", () => {
  test.each([
    ["whole", {}],
    ["LoRA", { lora }],
  ] as const)("embeddings (%s) are trained, saved and written to GGUF", async (_, more) => {
    await using model = newModel();
    const [base, outputDir, merged] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
    await model.save(base);
    await using trained = await LanguageModel.load(base);
    const before = await trained.embed("the cat", { promptName: "query" });
    const losses: number[] = [];
    const run = trainEmbedding(trained, { ...shared, ...more, data: pairs, outputDir });
    for await (const event of run) if ("gradNorm" in event) losses.push(event.loss);
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);
    const wanted = await trained.embed("the cat", { promptName: "query" });
    expect(Math.hypot(...wanted)).toBeCloseTo(1, 5);
    expect(Math.hypot(...wanted.map((v, i) => v - before[i]!))).toBeGreaterThan(1e-3);
    for (const name of trained.model.activeAdapters) await trained.mergeAdapter(name);
    await trained.save(merged);
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(merged, file);
    for (const path of [merged, file]) {
      await using again = await LanguageModel.load(path);
      expect(again.config.useBidirectionalAttention).toBe(true);
      for (const [i, v] of (await again.embed("the cat", { promptName: "query" })).entries())
        expect(v).toBeCloseTo(wanted[i]!, 4);
    }
  });

  test("a classifier pools the last token, as in transformers, and gives the same answer when loaded", async () => {
    await using model = newModel();
    const outputDir = temporaryFolder();
    await trainClassifier(model, { ...shared, data: rows, outputDir });
    expect(model.config.classifier).toMatchObject({ labels: ["a", "b"], pooling: "last" });
    await using again = await LanguageModel.load(outputDir);
    const [one, two] = [await model.classify("the old mat"), await again.classify("the old mat")];
    expect(two.probabilities.a).toBeCloseTo(one.probabilities.a!, 5);
  });

  test("rejects language modeling, which would see the tokens to predict", async () => {
    await using model = newModel();
    const refused = (work: () => unknown) =>
      expectError(work, "UNSUPPORTED", /expected a model that generates, got gemma3_text with bidirectional attention/);
    const outputDir = temporaryFolder();
    const corpus = join(temporaryFolder(), "corpus.txt");
    writeFileSync(corpus, "the cat sat on the mat\n".repeat(40));
    await refused(async () => {
      for await (const _ of pretrain(model, { ...shared, data: corpus, outputDir }));
    });
    await refused(async () => {
      const data = [
        {
          messages: [
            { role: "user", content: "cat" },
            { role: "assistant", content: "dog" },
          ],
        },
      ];
      for await (const _ of sft(model, { ...shared, data, outputDir }));
    });
    await refused(() => model.complete("the", { maxTokens: 1 }));
    await refused(() => model.complete("the", { maxTokens: 2, numBeams: 2 }));
    await refused(() => model.chat().send("the"));
    await refused(() => model.score("the cat"));
  });
});
