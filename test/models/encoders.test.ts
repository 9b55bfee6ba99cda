// Encoders against scripts/golden/encoders.py: hidden states in batches, classifiers, gradients and files.
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { Program } from "../../lib/graph/compile.ts";
import { gatherRows, input, linear, mul, profile, sum } from "../../lib/graph/index.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { createModel, LanguageModel, type LoadOptions } from "../../lib/language-model/index.ts";
import { classifierLogits } from "../../lib/models/heads.ts";
import type { Stage } from "../../lib/train/loop/stage.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { writeFamily } from "../golden/families.ts";
import { type EncoderGolden, goldens, maxError, rangeOf, read, trunkOf } from "./encoder-goldens.ts";

/** Pretraining heads in checkpoints, which encoders ignore. */
const PRETRAINING: Record<string, Record<string, number[]>> = {
  bert: { "cls.predictions.bias": [61], "bert.pooler.dense.weight": [24, 24], "bert.pooler.dense.bias": [24] },
  modernbert: { "decoder.bias": [61], "head.dense.weight": [24, 24], "head.norm.weight": [24] },
  roberta: { "lm_head.bias": [61], "lm_head.dense.weight": [24, 24], "roberta.pooler.dense.weight": [24, 24] },
  "xlm-roberta": { "lm_head.decoder.weight": [61, 24], "roberta.pooler.dense.bias": [24] },
  electra: { "discriminator_predictions.dense.weight": [24, 24], "generator_lm_head.bias": [61] },
  mpnet: { "lm_head.bias": [61], "lm_head.layer_norm.weight": [24], "mpnet.pooler.dense.weight": [24, 24] },
  distilbert: { "vocab_transform.weight": [24, 24], "vocab_layer_norm.bias": [24], "vocab_projector.bias": [61] },
};
/** Models that GGUF cannot express. */
const NOT_IN_GGUF: Record<string, RegExp> = {
  "xlm-roberta": /xlm-roberta: a token classification head cannot be stored in GGUF files of bert/,
  electra: /electra: GGUF has no architecture for it/,
  mpnet: /mpnet: GGUF has no architecture for it/,
  distilbert: /distilbert: a classification head cannot be stored in GGUF files of bert/,
};

async function expectTrunkConverts(golden: EncoderGolden): Promise<void> {
  const { sequences } = golden;
  const bare = await writeFamily(trunkOf(golden), temporaryFolder());
  const bareFile = join(temporaryFolder(), "bare.gguf");
  await convertModel(bare, bareFile);
  await using trunkModel = await LanguageModel.load(bareFile);
  const states = await pooledOutputs(trunkModel.model, sequences, { pooling: "all", contextLength: 48 });
  for (const [s, rows] of golden.hidden.entries())
    expect(maxError(states[s]!, rows.flat())).toBeLessThan(1e-5 * rangeOf(golden.hidden.flat(2)));
}

describe.each(goldens)("$name against PyTorch in float64", (golden) => {
  const { sequences } = golden;
  const load = async () => LanguageModel.load(await writeFamily(golden, temporaryFolder()));

  test("hidden states match in any batch, and so do mean, first and last pooling", async () => {
    await using model = await load();
    const contextLength = model.contextLength;
    const of = (pooling: "all" | "mean" | "first" | "last") =>
      pooledOutputs(model.model, sequences, { pooling, contextLength });
    const [all, mean, first, last] = [await of("all"), await of("mean"), await of("first"), await of("last")];
    for (const [s, rows] of golden.hidden.entries()) {
      const bound = 1e-5 * rangeOf(rows.flat());
      expect(maxError(all[s]!, rows.flat())).toBeLessThan(bound);
      expect(maxError(first[s]!, rows[0]!)).toBeLessThan(bound);
      expect(maxError(last[s]!, rows.at(-1)!)).toBeLessThan(bound);
      const average = rows[0]!.map((_, i) => rows.reduce((n, row) => n + row[i]!, 0) / rows.length);
      expect(maxError(mean[s]!, average)).toBeLessThan(bound);
      // Results do not depend on the batch.
      const [alone] = await pooledOutputs(model.model, [sequences[s]!], { pooling: "all", contextLength });
      expect(maxError(alone!, Array.from(all[s]!))).toBeLessThan(bound);
    }
  });

  test("the classifier and all gradients match the float64 reference", async () => {
    await using model = await load();
    const { classifier } = model.config;
    const words = /ForTokenClassification$/.test(String(golden.config.architectures));
    expect(classifier).toMatchObject({ labels: ["a", "b", "c"], task: words ? "token" : "sequence" });
    const { pooling } = classifier!;
    const logits = await pooledOutputs(model.model, sequences, read(model));
    const range = rangeOf(golden.logits.flat());
    for (const [s, row] of golden.logits.entries()) expect(maxError(logits[s]!, row)).toBeLessThan(1e-5 * range);

    const length = Math.max(...sequences.map((ids) => ids.length));
    const rows = sequences.length * length;
    const padded = { ids: new Int32Array(rows), documents: new Int32Array(rows).fill(-1) };
    const pool = new Float32Array(sequences.length * rows);
    for (const [s, ids] of sequences.entries()) {
      padded.ids.set(ids, s * length);
      padded.documents.fill(0, s * length, s * length + ids.length);
      const weight = pooling === "mean" ? 1 / ids.length : 1;
      pool.fill(weight, s * rows + s * length, s * rows + s * length + (pooling === "mean" ? ids.length : 1));
    }
    const readRows = sequences.flatMap((ids, s) => (words ? ids : ids.slice(0, 1)).map((_, i) => s * length + i));
    const stage: Stage<null> = {
      name: "weighted",
      count: () => 1,
      collate: () => ({
        inputs: {
          ...padded,
          read: Int32Array.from(readRows),
          pool,
          coefficients: Float32Array.from(readRows.flatMap(() => golden.coefficients)),
        },
        tokens: rows,
        counted: 1,
      }),
      loss(context) {
        const forward = context.forward({ documents: input("documents", "i32", [rows]) });
        const count = sequences.length;
        const pooled =
          pooling === "mean"
            ? linear(input("pool", "f32", [count, rows]), forward.hidden, undefined, { transposed: true })
            : gatherRows(forward.hidden, input("read", "i32", [readRows.length]));
        const predicted = classifierLogits(forward, context.model.config, pooled);
        return sum(mul(predicted, input("coefficients", "f32", [readRows.length, 3])));
      },
    };
    const shape = { sequences: sequences.length, sequenceLength: length, dtype: "f32" as const };
    const step = await TrainStep.create(model.model, stage, shape, { names: model.model.weightNames });
    await step.accumulate([null]);
    const all = Math.hypot(...Object.values(golden.gradients).map((g) => g.norm));
    for (const [name, wanted] of Object.entries(golden.gradients)) {
      const got = await step.optimizer.gradients.get(`gradient.${name}`)!.toFloat32();
      const bound = 1e-5 * wanted.norm + 1e-6 * all;
      expect(Math.abs(Math.hypot(...got) - wanted.norm), name).toBeLessThan(bound);
      for (const [i, g] of wanted.first.entries()) expect(Math.abs(got[i]! - g), `${name}[${i}]`).toBeLessThan(bound);
    }
    step.dispose();
  });

  test.each(["bf16", "q8_0"] as const)("%s weights work with rounded and with f32 activations", async (dtype) => {
    const folder = await writeFamily(golden, temporaryFolder());
    const embedded = async (options: LoadOptions) => {
      await using model = await LanguageModel.load(folder, options);
      const weight = [...model.model.tensors.keys()].find((name) =>
        /(intermediate\.dense|mlp\.Wi|ffn\.lin1)\.weight$/.test(name),
      );
      const vectors = await pooledOutputs(model.model, sequences, { pooling: "all", contextLength: 48 });
      return { dtype: model.model.weight(weight!).dtype, all: vectors.flatMap((v) => [...v]) };
    };
    const range = rangeOf(golden.hidden.flat(2));
    const wanted = golden.hidden.flat(2);
    const [fast, exact] = [await embedded({ dtype }), await embedded({ dtype, quantizedActivations: "f32" })];
    // Rows have 24 values and q8_0's blocks 32, so the weights are stored as f16.
    expect(fast.dtype).toBe(dtype === "bf16" ? "bf16" : "f16");
    const [rounded, unrounded] = [maxError(fast.all, wanted) / range, maxError(exact.all, wanted) / range];
    expect(unrounded).toBeLessThan(0.02);
    expect(rounded).toBeLessThan(0.03);
    if (dtype === "bf16") expect(maxError(fast.all, exact.all) / range).toBeGreaterThan(1e-5);
  });

  test("texts are not padded", async () => {
    await using model = await load();
    const { profile: taken } = await profile(() => model.embed(sequences[0]!));
    const products = taken.operations.filter(({ op }) => op === "attention");
    expect(products.length).toBeGreaterThan(0);
    for (const { inputs } of products) expect(inputs[0]!.shape[0]).toBe(sequences[0]!.length);
  });

  test("save keeps the Hugging Face names, GGUF gives the same logits or is rejected, and pretraining heads are ignored", async () => {
    await using model = await load();
    const saved = temporaryFolder();
    await model.save(saved);
    const stored = await openWeights(saved);
    expect(stored.names().sort()).toEqual(Object.keys(golden.weights).sort());
    stored.close();
    const files = await openModelFiles(saved);
    const { architectures, ...config } = model.config;
    expect(files.config).toMatchObject({ ...config, dtype: "f32" });
    files.close();
    const file = join(temporaryFolder(), "m.gguf");
    const refused = NOT_IN_GGUF[golden.name];
    if (refused) await expectError(() => convertModel(saved, file), "UNSUPPORTED", refused);
    else {
      await convertModel(saved, file);
      await using converted = await LanguageModel.load(file);
      const logits = await pooledOutputs(converted.model, sequences, read(model));
      for (const [s, row] of golden.logits.entries())
        expect(maxError(logits[s]!, row)).toBeLessThan(1e-5 * rangeOf(golden.logits.flat()));
    }
    // Without the classifier, GGUF supports BERT-like models.
    if (!["electra", "mpnet"].includes(golden.name)) await expectTrunkConverts(golden);

    const trunk = trunkOf(golden);
    const heads = PRETRAINING[golden.name]!;
    const folder = await writeFamily({ ...trunk, weights: { ...trunk.weights, ...heads } }, temporaryFolder());
    await using pretrained = await LanguageModel.load(folder);
    const [hidden] = await pooledOutputs(pretrained.model, [sequences[0]!], { pooling: "all", contextLength: 48 });
    expect(maxError(hidden!, golden.hidden[0]!.flat())).toBeLessThan(1e-5 * rangeOf(golden.hidden[0]!.flat()));
  });

  test("generation is rejected", async () => {
    await using model = await load();
    const unsupported = /expected a model that generates, got [a-z-]+, which is an encoder/;
    await expectError(() => model.complete([1, 2, 3], { maxTokens: 1 }), "UNSUPPORTED", unsupported);
    await expectError(() => model.logits([1, 2, 3]), "UNSUPPORTED", unsupported);
  });
});

test("createModel creates encoders, whose first hidden state depends on the last token", async () => {
  for (const modelType of [
    "bert",
    "modernbert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "mpnet",
  ] as const) {
    await using model = createModel({ modelType, vocabSize: 64, hiddenSize: 64, numHiddenLayers: 2 });
    expect(model.config.modelType).toBe(modelType);
    const options = { pooling: "first", contextLength: 8 } as const;
    const [one, other, same] = await pooledOutputs(
      model.model,
      [
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 3],
      ],
      options,
    );
    expect(one).toHaveLength(64);
    expect(one!.every(Number.isFinite)).toBe(true);
    expect(maxError(one!, [...same!])).toBeLessThan(1e-5 * rangeOf([...one!]));
    expect(maxError(one!, [...other!])).toBeGreaterThan(1e-4 * rangeOf([...one!]));
  }
});

test("concurrent calls of embed give the vectors of single calls, see changed weights, and are rejected after dispose", async () => {
  const folder = temporaryFolder();
  const config = {
    modelType: "bert",
    vocabSize: 64,
    hiddenSize: 32,
    numHiddenLayers: 2,
    maxPositionEmbeddings: 64,
  } as const;
  const model = createModel(config, { seed: 3 });
  await model.save(folder);
  const texts = Array.from({ length: 12 }, (_, i) => Array.from({ length: 1 + i * 5 }, (_, j) => (i * 7 + j) % 64));
  const alone: Float32Array[] = [];
  const binds = vi.spyOn(Program.prototype, "bind");
  onTestFinished(() => binds.mockRestore());
  for (const text of texts) {
    await using fresh = await LanguageModel.load(folder);
    alone.push(await fresh.embed(text));
  }
  for (let round = 0; round < 3; round++) {
    const [together, ...each] = await Promise.all([model.embed(texts), ...texts.map((text) => model.embed(text))]);
    for (const [i, vector] of alone.entries()) {
      expect(each[i]).toEqual(vector);
      expect(maxError(together[i]!, [...vector])).toBeLessThan(1e-6);
    }
  }
  binds.mockClear();
  for (const text of texts) expect(await model.embed(text)).toEqual(alone[texts.indexOf(text)]);
  expect(binds).not.toHaveBeenCalled();
  await model.embed(Array.from({ length: 3 }, () => texts.at(-1)!)); // three texts of this length do not fit into the programs bound so far
  expect(binds).toHaveBeenCalledTimes(1);
  const tensor = model.model.weight("bert.embeddings.word_embeddings.weight");
  await tensor.write((await tensor.toFloat32()).map((v) => -v));
  expect(maxError(await model.embed(texts[1]!), [...alone[1]!])).toBeGreaterThan(1e-3);
  const pending = model.embed(texts[2]!);
  await new Promise((resolve) => setImmediate(resolve)); // the call is now running
  await model.dispose();
  expect((await pending).length).toBe(32);
  await expect(model.embed(texts[2]!)).rejects.toThrow(/used after dispose/);
});

test("quantization on load hardly changes an encoder's vectors", async () => {
  const folder = temporaryFolder();
  for (const modelType of ["bert", "modernbert", "roberta", "distilbert", "electra", "mpnet"] as const) {
    const sizes = { hiddenSize: 256, intermediateSize: 512, numHiddenLayers: 3, numAttentionHeads: 4 };
    await using made = createModel({ modelType, vocabSize: 64, maxPositionEmbeddings: 64, ...sizes }, { seed: 3 });
    await made.save(folder);
    const texts = Array.from({ length: 40 }, (_, i) =>
      Array.from({ length: 1 + ((i * 7) % 50) }, (_, j) => (i * j) % 64),
    );
    const plain = await made.embed(texts);
    for (const [dtype, least] of [
      ["bf16", 0.9999],
      ["q8_0", 0.9998],
      ["q4_k", 0.98],
    ] as const) {
      await using model = await LanguageModel.load(folder, { dtype });
      const types = new Set([...model.model.tensors.values()].map((t) => t.dtype));
      expect(types).toContain(dtype);
      for (const [i, vector] of (await model.embed(texts)).entries()) {
        const cosine = vector.reduce((sum, v, d) => sum + v * plain[i]![d]!, 0);
        expect(cosine, `${modelType} ${dtype} ${i}`).toBeGreaterThan(least);
      }
    }
  }
});

test("loads BERT's oldest checkpoints with gamma and beta, without prefix, with position ids", async () => {
  const golden = goldens[0]!;
  const { architectures: _, ...config } = golden.config;
  const trunk = Object.entries(golden.weights).filter(([name]) => name.startsWith("bert.") && !/pooler/.test(name));
  const folder = await writeFamily({ config, weights: Object.fromEntries(trunk) }, temporaryFolder());
  await using plain = await LanguageModel.load(folder);
  const source = await openWeights(folder);
  const tensors = source.names().map((name) => {
    const { dtype, shape, file, offset, bytes } = source.tensor(name);
    const old = name.replace(/^bert\./, "").replace("LayerNorm.weight", "LayerNorm.gamma");
    return {
      name: old.replace("LayerNorm.bias", "LayerNorm.beta"),
      dtype,
      shape,
      bytes: new Uint8Array(file.bytes(offset, bytes)).slice(),
    };
  });
  source.close();
  const positions = new Uint8Array(Int32Array.from({ length: 48 }, (_, i) => i).buffer);
  await saveWeights(folder, [
    ...tensors,
    { name: "embeddings.position_ids", dtype: "i32", shape: [1, 48], bytes: positions },
  ]);
  await using old = await LanguageModel.load(folder);
  const ids = golden.sequences;
  const of = (m: LanguageModel) => pooledOutputs(m.model, ids, { pooling: "mean", contextLength: 48 });
  expect(await of(old)).toEqual(await of(plain));
});

test("loads BERT token classifiers whose checkpoints contain a pooler", async () => {
  const golden = goldens[0]!;
  const config = { ...golden.config, architectures: ["BertForTokenClassification"] };
  await using model = await LanguageModel.load(await writeFamily({ ...golden, config }, temporaryFolder()));
  expect(model.model.weightNames.some((name) => name.includes("pooler"))).toBe(false);
});
