// Causal and bidirectional decoder embedders against scripts/golden/embedders.py: vectors, training, files and unsupported calls.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { embeddingWidths } from "../../lib/formats/sentence-transformers/embedding-schema.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { profile } from "../../lib/graph/index.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { contrastive } from "../../lib/train/losses/embed-loss.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { weightByName } from "../golden/by-name.ts";
import { embedders, isBidirectional, nameOf, writeEmbedder } from "./embedder-goldens.ts";
import { maxError, rangeOf } from "./encoder-goldens.ts";

const generates =
  /expected a model that generates, got [a-z0-9_]+ with bidirectional attention \(useBidirectionalAttention\)/;

describe.each(embedders)("$name against PyTorch in float64", (golden) => {
  const { sequences, vectors } = golden;
  const load = async () => LanguageModel.load(await writeEmbedder(golden, temporaryFolder()));
  const bidirectional = isBidirectional(golden);
  const expectVectors = (got: readonly Float32Array[]) => {
    for (const [s, wanted] of vectors.entries()) expect(maxError(got[s]!, wanted)).toBeLessThan(1e-5 * rangeOf(wanted));
  };

  test("hidden states and vectors match in any batch", async () => {
    await using model = await load();
    expect(model.config.useBidirectionalAttention).toBe(bidirectional || undefined);
    const { contextLength } = model;
    const all = await pooledOutputs(model.model, sequences, { pooling: "all", contextLength });
    for (const [s, rows] of golden.hidden.entries())
      expect(maxError(all[s]!, rows.flat())).toBeLessThan(1e-5 * rangeOf(rows.flat()));
    expectVectors(await model.embed(sequences));
    expectVectors(await Promise.all(sequences.map((ids) => model.embed(ids))));
    expectVectors((await model.embed([...sequences].reverse())).reverse());
  });

  test("the contrastive loss, and the norm, first elements and projection of every gradient match with relative error at most 1e-5", async () => {
    await using model = await load();
    const { config } = model;
    const shape = {
      sequences: 4,
      sequenceLength: Math.max(...sequences.map((ids) => ids.length)),
      dtype: "f32" as const,
    };
    const stage = contrastive({
      ...{ pairs: 2, negatives: 0, symmetric: false, padTokenId: 0, temperature: golden.temperature },
      width: embeddingWidths(config).at(-1)!,
      pooling: config.embedding!.pooling,
      sequenceLength: shape.sequenceLength,
    });
    const names = Object.keys(golden.gradients).map(nameOf);
    const step = await TrainStep.create(model.model, stage, shape, { names });
    const [a, b, c, d] = sequences.map((ids) => Uint32Array.from(ids));
    const { loss } = await step.accumulate([
      [
        { anchor: a!, positive: c!, negatives: [] },
        { anchor: b!, positive: d!, negatives: [] },
      ],
    ]);
    expect(Math.abs(loss / golden.loss - 1)).toBeLessThan(1e-5);
    for (const [name, wanted] of Object.entries(golden.gradients)) {
      const got = await step.optimizer.gradients.get(`gradient.${nameOf(name)}`)!.toFloat32();
      const bound = 1e-5 * wanted.norm;
      const probe = weightByName(`${name} probe`, golden.weights[name]!, 0);
      const dot = got.reduce((sum, g, i) => sum + g * probe[i]!, 0);
      expect(Math.abs(Math.hypot(...got) - wanted.norm), name).toBeLessThan(bound);
      expect(Math.abs(dot - wanted.dot), name).toBeLessThan(bound);
      for (const [i, g] of wanted.first.entries()) expect(Math.abs(got[i]! - g), `${name}[${i}]`).toBeLessThan(bound);
    }
    step.dispose();
  });

  test("the model is the same after saving as a folder and as GGUF", async () => {
    await using model = await load();
    const saved = temporaryFolder();
    await model.save(saved);
    const file = join(temporaryFolder(), "model.gguf");
    const { notes = [] } = await convertModel(saved, file);
    expect(notes.filter((note) => !/^sliding windows of llama files|window|head_dim|sliding/.test(note))).toEqual([]);
    const back = temporaryFolder();
    await convertModel(file, back);
    for (const path of [saved, file, back]) {
      const files = await openModelFiles(path);
      // Embedders have no head. A GGUF file without a head loads with tied embeddings, as in llama.cpp.
      const { architectures: _, tieWordEmbeddings: _tied, ...wanted } = model.config;
      expect(files.config).toMatchObject({ ...wanted, dtype: "f32" });
      files.close();
      await using again = await LanguageModel.load(path);
      expectVectors(await again.embed(sequences));
      if (path.endsWith(".gguf")) continue;
      const stored = await openWeights(path);
      const trunk = Object.keys(golden.weights).filter((name) => !/^\d_Dense/.test(name));
      expect(stored.names().sort()).toEqual(trunk.sort());
      stored.close();
    }
  });

  test.runIf(bidirectional)("a text takes a single pass over its tokens", async () => {
    await using model = await load();
    const { profile: taken } = await profile(() => model.embed(sequences[1]!));
    expect(taken.operations.some(({ op }) => op === "cached_attention")).toBe(false);
    const attended = taken.operations.filter(({ op }) => op === "attention");
    expect(attended.length).toBeGreaterThan(0);
    for (const { inputs } of attended) expect(inputs[0]!.shape[0]).toBe(sequences[1]!.length);
  });

  test.runIf(bidirectional)("generation, logits and scores are rejected", async () => {
    await using model = await load();
    await expectError(() => model.complete([1, 2, 3], { maxTokens: 1 }), "UNSUPPORTED", generates);
    await expectError(() => model.logits([1, 2, 3]), "UNSUPPORTED", generates);
    await expectError(() => model.score([1, 2, 3, 4]), "UNSUPPORTED", generates);
  });
});
