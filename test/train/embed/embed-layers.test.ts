// Contrastive training through every pooling mode and the layers after it. Vectors equal those of `embed`, gradients are those of the
// loss, and the trained layers are saved.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { EmbeddingConfig, PoolingMode } from "../../../lib/formats/config/config.ts";
import { embeddingWidths } from "../../../lib/formats/sentence-transformers/embedding-schema.ts";
import { openWeights } from "../../../lib/formats/weights.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { embeddingLayerWeights } from "../../../lib/models/embedding-layers.ts";
import { trunkNames } from "../../../lib/models/heads.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import type { StepEvent } from "../../../lib/train/loop/trainer.ts";
import { contrastive } from "../../../lib/train/losses/embed-loss.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import {
  cased,
  close,
  newModel,
  tokenizer,
  unit,
  WIDTH,
} from "../../formats/sentence-transformers/embedding-folders.ts";
import { maxDifference } from "../../helpers/max-difference.ts";

const layers = [
  { type: "dense", outFeatures: 12, bias: true, activation: "tanh" },
  { type: "layer_norm" },
  { type: "dense", outFeatures: 8, bias: false, activation: "identity" },
] satisfies EmbeddingConfig["layers"];

const pairs = [
  ["the cat sat", "a cat is there"],
  ["the dog and the bird in the old tree", "birds"],
  ["a mat", "on the mat"],
].map(([anchor, positive]) => ({
  anchor: tokenizer.encode(anchor!),
  positive: tokenizer.encode(positive!),
  negatives: [],
}));

describe.each(["bert", "llama"] as const)("%s", (modelType) => {
  const ways: PoolingMode[] = ["max", "mean", "mean_sqrt_len", "weighted_mean", "last"];
  // A causal model's first token sees none of the following text.
  if (modelType === "bert") ways.push("first");
  const cases: { pooling: PoolingMode | PoolingMode[] }[] = [...ways, [...ways.slice(0, 2)]].map((pooling) => ({
    pooling,
  }));
  test.each(cases)("$pooling pooling: vectors match embed, gradients match finite differences", async ({ pooling }) => {
    await using model = newModel(modelType, { pooling, layers });
    const { config } = model;
    const width = embeddingWidths(config).at(-1)!;
    expect(width).toBe(8);
    // An odd length, so that max pooling splits its rows unevenly.
    const shape = { sequences: 6, sequenceLength: 13, dtype: "f32" as const };
    const stage = contrastive({
      ...{ width, pairs: 3, negatives: 0, pooling, temperature: 0.5, symmetric: true, padTokenId: 0 },
      sequenceLength: shape.sequenceLength,
    });
    const names = [...trunkNames(config), ...embeddingLayerWeights(config).keys()];
    const step = await TrainStep.create(model.model, stage, shape, { names });
    let vectors: number[] = [];
    const seen = { ...stage, metrics: undefined };
    const probe = await TrainStep.create(
      model.model,
      {
        ...seen,
        metrics(outputs: readonly Record<string, unknown>[]) {
          vectors = Array.from(outputs[0]!.vectors as Float32Array);
          return {};
        },
      },
      shape,
      { names },
    );
    await probe.evaluate(pairs);
    probe.dispose();
    const wanted = await model.embed(pairs.flatMap((p) => [p.anchor]));
    for (const [i, vector] of wanted.entries()) close(vectors.slice(i * 8, (i + 1) * 8), [...vector], 2e-5);

    // Finite differences: a step of h along the gradient changes the loss by h times the gradient's squared norm.
    await step.accumulate([pairs]);
    const gradients = new Map<string, Float32Array>();
    let square = 0;
    for (const name of names) {
      const gradient = await step.optimizer.gradients.get(`gradient.${name}`)!.toFloat32();
      gradients.set(name, gradient);
      square += gradient.reduce((n, g) => n + g * g, 0);
    }
    for (const name of embeddingLayerWeights(config).keys())
      expect(Math.hypot(...gradients.get(name)!), name).toBeGreaterThan(1e-6);
    const before = new Map(
      await Promise.all(names.map(async (name) => [name, await model.model.weight(name).toFloat32()] as const)),
    );
    const lossAt = async (by: number) => {
      for (const name of names)
        await model.model.weight(name).write(before.get(name)!.map((w, i) => w + by * gradients.get(name)![i]!));
      return (await step.evaluate(pairs)).loss;
    };
    const by = 2e-3 / Math.sqrt(square);
    const slope = ((await lossAt(by)) - (await lossAt(-by))) / (2 * by);
    expect(slope / square).toBeGreaterThan(0.98);
    expect(slope / square).toBeLessThan(1.02);
    step.dispose();
  });
});

const words = ["cat", "dog", "bird", "tree", "mat", "old"];
const data = words.flatMap((word) => [
  { anchor: `the ${word} sat`, positive: `a ${word} is there` },
  { anchor: `${word} in the tree`, positive: `on the ${word}` },
]);
const options = { data, maxSteps: 40, perDeviceTrainBatchSize: 6, learningRate: 5e-3, warmupSteps: 2, seed: 1 };

describe("trainEmbedding", () => {
  test("trains dense layers with the trunk, saves them in their folders, and resumes from a checkpoint", async () => {
    const outputDir = temporaryFolder();
    const embedding = {
      layers,
      prompts: { query: "query: " },
      similarity: "cosine",
    } satisfies Partial<EmbeddingConfig>;
    const losses = async (more: object) => {
      await using model = newModel("bert", embedding);
      const before = await model.model.weight("embedding_layers.0.weight").toFloat32();
      const out: number[] = [];
      for await (const event of trainEmbedding(model, { ...options, outputDir, saveSteps: 20, ...more }))
        if ("loss" in event) out.push((event as StepEvent).loss);
      const after = await model.model.weight("embedding_layers.0.weight").toFloat32();
      expect(maxDifference(after, before)).toBeGreaterThan(1e-3);
      return { out, vector: await model.embed("the cat") };
    };
    const straight = await losses({});
    expect(straight.out.at(-1)!).toBeLessThan(straight.out[0]! / 2);
    const inner = await openWeights(join(outputDir, "2_Dense"));
    expect(inner.names().sort()).toEqual(["linear.bias", "linear.weight"]);
    inner.close();
    await using saved = await LanguageModel.load(outputDir);
    expect(saved.config.embedding).toEqual({ pooling: "mean", normalize: true, ...embedding });
    close(await saved.embed("the cat"), [...straight.vector], 1e-6);
    // A checkpoint loads as a model.
    await using half = await LanguageModel.load(join(outputDir, "checkpoint-20"));
    expect(half.config.embedding?.layers).toEqual(layers);
    expect((await half.embed("the cat")).length).toBe(8);
    const resumed = await losses({ resume: join(outputDir, "checkpoint-20") });
    expect(resumed.out).toEqual(straight.out.slice(20));
  });

  test("LoRA trains the dense layers together with the adapter and saves them with it", async () => {
    const [base, outputDir] = [temporaryFolder(), temporaryFolder()];
    await using made = newModel("bert", { layers });
    await made.save(base);
    await using model = await LanguageModel.load(base);
    const trunk = await model.model.weight("bert.embeddings.word_embeddings.weight").toFloat32();
    const dense = [...embeddingLayerWeights(model.config).keys()];
    const read = () => Promise.all(dense.map((name) => model.model.weight(name).toFloat32()));
    const before = await read();
    const lora = { r: 4, targetModules: "all-linear" } as const;
    await trainEmbedding(model, { ...options, lora, outputDir });
    for (const [i, after] of (await read()).entries())
      expect(maxDifference(after, before[i]!), dense[i]).toBeGreaterThan(1e-3);
    expect(await model.model.weight("bert.embeddings.word_embeddings.weight").toFloat32()).toEqual(trunk);
    const vector = await model.embed("the cat");
    const first = await made.embed("the cat");
    expect(first.reduce((n, v, i) => n + v * vector[i]!, 0)).toBeLessThan(0.999);
    await using loaded = await LanguageModel.load(outputDir);
    close(await loaded.embed("the cat"), unit([...vector]), 1e-5);
    // The adapter has learned too.
    model.setActiveAdapters([]);
    expect(await model.embed("the cat")).not.toEqual(vector);
  });

  test("rejects a pooling mode that does not fit the dense layers", async () => {
    await using model = newModel("bert", { layers });
    await expectError(
      () => trainEmbedding(model, { ...options, pooling: ["first", "mean"] }),
      "INVALID_ARGUMENT",
      /embedding.layers: expected the model's layers and a pooling that fits their input width/,
    );
    await expectError(
      () => trainEmbedding(model, { ...options, pooling: "sum" as never }),
      "INVALID_ARGUMENT",
      /pooling: expected one of first, max, .*, or several of them/,
    );
  });

  test("checks truncateDim against the pooled width, and rejects a repeated pooling mode", async () => {
    const pooling: PoolingMode[] = ["mean", "first"];
    await using model = newModel("bert", { pooling, truncateDim: WIDTH + 4 });
    expect((await model.embed("the cat")).length).toBe(WIDTH + 4);
    expect((await model.embed("the cat", { pooling: "mean" })).length).toBe(WIDTH);
    const over = { pooling: "mean", truncateDim: WIDTH + 4 } as const;
    const most = /truncateDim: expected a whole number from 1 to 16, the width of vectors, got 20/;
    await expectError(() => model.embed("the cat", over), "INVALID_ARGUMENT", most);
    const twice = { ...options, pooling: ["mean", "mean"] as PoolingMode[] };
    await expectError(() => trainEmbedding(model, twice), "INVALID_ARGUMENT", /pooling: expected distinct modes/);
    await trainEmbedding(model, { ...options, maxSteps: 1, evalData: data, pooling: "mean" });
    expect(model.config.embedding).toEqual({ pooling: "mean", normalize: true });
  });

  test("applies the model's lowercase and maxSeqLength to training texts", async () => {
    await using model = newModel("bert", { lowercase: true, maxSeqLength: 5 });
    const more = /maxSeqLength: expected at most 5, the model's embedding.maxSeqLength, got 6/;
    await expectError(() => trainEmbedding(model, { ...options, maxSeqLength: 6 }), "INVALID_ARGUMENT", more);
    const refused = /positive: expected at most 5 tokens/;
    await expectError(() => trainEmbedding(model, { ...options }), "INVALID_ARGUMENT", refused);
    const lossOf = async (change: (text: string) => string) => {
      await using fresh = newModel("bert", { lowercase: true, maxSeqLength: 5 }, cased);
      const rows = data.map(({ anchor, positive }) => ({ anchor: change(anchor), positive: change(positive) }));
      return (await trainEmbedding(fresh, { ...options, data: rows, maxSteps: 1, truncation: true })).loss;
    };
    expect(cased.encode("THE CAT")).not.toEqual(cased.encode("the cat"));
    expect(await lossOf((text) => text.toUpperCase())).toBe(await lossOf((text) => text));
  });
});
