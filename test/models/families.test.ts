// Families against scripts/golden/families.py: loading Hugging Face's weight names, generation, training and files.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { formatOf } from "../../lib/formats/config/families.ts";
import { unstackExperts } from "../../lib/formats/experts.ts";
import { unstackHeadNorms } from "../../lib/formats/head-norms.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { crossEntropy, input, isQuantized, type Tensor } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import type { Model } from "../../lib/models/model.ts";
import { contextLimit } from "../../lib/models/rope-frequencies.ts";
import type { Stage } from "../../lib/train/loop/stage.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { type FamilyGolden, familyGoldens, writeFamily } from "../golden/families.ts";
import { maxRowDifference } from "../helpers/max-difference.ts";

const worstOf = (got: readonly Float32Array[], wanted: readonly number[][]) => maxRowDifference(wanted, got);

function rangeOf(rows: readonly number[][]): number {
  const all = rows.flat();
  return Math.max(...all) - Math.min(...all);
}

/** Next-token targets of a golden sequence. */
function nextToken({ prompt, greedy, logits }: FamilyGolden) {
  const ids = Int32Array.from([...prompt, ...greedy].slice(0, logits.length));
  const targets = Int32Array.from(ids, (_, i) => ids[i + 1] ?? -1);
  const stage: Stage<null> = {
    name: "next",
    count: () => ids.length - 1,
    collate: (_, total) => ({
      inputs: { ids, targets, weights: Float32Array.from(targets, (t) => (t < 0 ? 0 : 1 / total)) },
      tokens: ids.length,
      counted: ids.length - 1,
    }),
    loss({ rows, forward }) {
      const { hidden, head } = forward();
      return crossEntropy(hidden, head, input("targets", "i32", [rows]), input("weights", "f32", [rows]));
    },
  };
  return { ids, stage };
}

/** Gradients by Hugging Face name. Experts are stacked in heddle, but separate or fused in Hugging Face's files. */
async function officialGradients(model: Model, gradients: ReadonlyMap<string, Tensor>) {
  const tensors: TensorData[] = [];
  for (const name of model.weightNames) {
    const gradient = gradients.get(`gradient.${name}`);
    if (!gradient) continue;
    const bytes = new Uint8Array((await gradient.toFloat32()).buffer);
    tensors.push({ name, dtype: "f32", shape: gradient.shape, bytes });
  }
  const out = new Map<string, Float32Array>();
  for (const { name, bytes } of unstackHeadNorms(unstackExperts(tensors, model.config, model.device), model.config)) {
    const data = typeof bytes === "function" ? await bytes() : bytes;
    if (!(data instanceof Uint8Array)) throw new Error(`${name}: expected bytes`);
    out.set(name, new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4));
  }
  return out;
}

test("dynamic scaling and YaRN extend the context limit", () => {
  const limit = (ropeScaling: object | null, maxPositionEmbeddings = 32) =>
    contextLimit(
      parseModelConfig({
        modelType: "qwen2",
        hiddenSize: 64,
        numHiddenLayers: 1,
        vocabSize: 9,
        maxPositionEmbeddings,
        ropeScaling,
      }),
    );
  expect(limit(null)).toBe(32);
  expect(limit({ ropeType: "linear", factor: 4 })).toBe(32);
  expect(limit({ ropeType: "dynamic", factor: 4 })).toBe(128);
  // Qwen 2.5's model card keeps the original length in max_position_embeddings. Other configurations have the extended length there.
  const yarn = { ropeType: "yarn", factor: 4, originalMaxPositionEmbeddings: 32 };
  expect(limit(yarn)).toBe(128);
  expect(limit(yarn, 128)).toBe(128);
  expect(limit({ ropeType: "yarn", factor: 4 })).toBe(128);
  expect(limit({ ropeType: "yarn", factor: 1e6, originalMaxPositionEmbeddings: 2 ** 30 })).toBe(2 ** 30);
});

describe.each(familyGoldens)("$name against PyTorch in float64", (golden) => {
  const ids = [...golden.prompt, ...golden.greedy];
  const load = async () => LanguageModel.load(await writeFamily(golden, temporaryFolder()));

  test("logits and greedy generation with a cache match", async () => {
    await using model = await load();
    const logits = await model.logits(ids.slice(0, golden.logits.length));
    expect(worstOf(logits, golden.logits)).toBeLessThanOrEqual(1e-5 * rangeOf(golden.logits));
    const { tokens, logprobs } = await model.complete(golden.prompt, {
      maxTokens: golden.greedy.length,
      temperature: 0,
      ignoreEos: true,
    });
    expect(tokens).toEqual(golden.greedy);
    for (const [i, wanted] of golden.logprobs.entries()) expect(logprobs[i]).toBeCloseTo(wanted, 4);
    const speculated = await model.complete(golden.prompt, {
      maxTokens: golden.greedy.length,
      temperature: 0,
      ignoreEos: true,
      promptLookupNumTokens: 4,
    });
    expect(speculated.tokens).toEqual(golden.greedy);
  });

  test("the loss and all gradients match the float64 reference", async () => {
    await using model = await load();
    const { ids: rows, stage } = nextToken(golden);
    const shape = { sequences: 1, sequenceLength: rows.length, dtype: "f32" as const };
    // Quantized weights are frozen.
    const names = model.model.weightNames.filter((name) => !isQuantized(model.model.weight(name).dtype));
    const step = await TrainStep.create(model.model, stage, shape, { names });
    const { loss } = await step.accumulate([null]);
    expect(Math.abs(loss / golden.loss - 1)).toBeLessThan(1e-5);
    const all = Math.hypot(...Object.values(golden.gradients).map((g) => g.norm));
    const found = await officialGradients(model.model, step.optimizer.gradients);
    for (const [name, wanted] of Object.entries(golden.gradients)) {
      const got = found.get(name)!;
      const bound = 1e-5 * wanted.norm + 1e-7 * all;
      expect(Math.abs(Math.hypot(...got) - wanted.norm), name).toBeLessThan(bound);
      for (const [i, g] of wanted.first.entries()) expect(Math.abs(got[i]! - g), `${name}[${i}]`).toBeLessThan(bound);
    }
    step.dispose();
  });

  test("the model and its names are the same after saving as a folder and as GGUF", async () => {
    const folder = await writeFamily(golden, temporaryFolder());
    await using model = await LanguageModel.load(folder);
    const saved = temporaryFolder();
    await model.save(saved);
    const paths = [saved];
    const { modelType, ropeScaling } = model.config;
    const { gguf } = formatOf(modelType);
    const file = join(temporaryFolder(), "model.gguf");
    if (!gguf)
      await expect(convertModel(saved, file)).rejects.toMatchObject({
        code: "UNSUPPORTED",
        message: `${modelType}: GGUF has no architecture for it`,
      });
    else if (ropeScaling?.ropeType !== "dynamic") {
      await convertModel(saved, file);
      const back = temporaryFolder();
      await convertModel(file, back);
      paths.push(file, back);
    }
    for (const path of paths) {
      const files = await openModelFiles(path);
      const { architectures: _, ...wanted } = model.config;
      expect(files.config).toMatchObject({ ...wanted, dtype: "f32" });
      files.close();
      await using again = await LanguageModel.load(path);
      const logits = await again.logits(ids.slice(0, golden.logits.length));
      expect(worstOf(logits, golden.logits)).toBeLessThanOrEqual(1e-5 * rangeOf(golden.logits));
      if (path.endsWith(".gguf")) continue;
      const stored = await openWeights(path);
      // Blocks with scales are saved dequantized.
      const official = Object.keys(golden.weights).filter((name) => !name.endsWith("_scales"));
      expect(stored.names().sort()).toEqual(official.map((name) => name.replace(/_blocks$/, "")).sort());
      stored.close();
    }
  });
});
