// Adapters over quantized weights: losses and gradients against PyTorch over the dequantized weights, and training, saving and merging
// over a GGUF file.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { castBytes } from "../../../lib/formats/native-cast.ts";
import { isQuantized, openDevice, Tensor } from "../../../lib/graph/index.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { Model } from "../../../lib/models/model.ts";
import { familyOf } from "../../../lib/models/registry.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import golden from "../../golden/qlora.json" with { type: "json" };
import { hashed } from "../../golden/weights.ts";
import { maxRowDifference } from "../../helpers/max-difference.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

const device = openDevice();
type Quantized = "q4_0" | "q8_0" | "q4_k";
/** Size of a block, its element count, and offset and scale of its half-precision numbers, as in scripts/golden/qlora.py. */
const LAYOUT: Record<Quantized, { size: number; count: number; halves: [number, number][] }> = {
  q4_0: { size: 18, count: 32, halves: [[0, 2 ** -7]] },
  q8_0: { size: 34, count: 32, halves: [[0, 2 ** -11]] },
  q4_k: {
    size: 144,
    count: 256,
    halves: [
      [0, 2 ** -13],
      [2, 2 ** -11],
    ],
  },
};

function blocks(dtype: Quantized, tensor: number, elements: number): Uint8Array {
  const { size, count, halves } = LAYOUT[dtype];
  const total = elements / count;
  const data = Uint8Array.from(hashed(tensor, total * size), (v) => Math.floor((v + 0.5) * 256));
  for (let n = 0; n < total; n++)
    for (const [at, unit] of halves) {
      const value = Float32Array.of(unit * (1 + (n % 4) / 4));
      data.set(castBytes(new Uint8Array(value.buffer), "f32", "f16", "scale"), n * size + at);
    }
  return data;
}

async function quantizedModel({ dtype, config: c }: (typeof golden)[number]): Promise<Model> {
  const config = parseModelConfig({
    modelType: "llama",
    vocabSize: c.vocab,
    hiddenSize: c.hidden,
    intermediateSize: c.inner,
    numHiddenLayers: c.layers,
    numAttentionHeads: c.heads,
    numKeyValueHeads: c.kvHeads,
    headDim: c.headDim,
    maxPositionEmbeddings: c.positions,
    rmsNormEps: c.eps,
    ropeTheta: c.theta,
    tieWordEmbeddings: true,
  });
  const weights = new Map<string, Tensor>();
  let index = 0;
  for (const [name, { shape }] of familyOf("llama").weights(config)) {
    const elements = shape.reduce((n, d) => n * d, 1);
    const made =
      shape.length === 2
        ? Tensor.from(device, dtype as Quantized, shape, blocks(dtype as Quantized, index, elements))
        : Tensor.from(
            device,
            "f32",
            shape,
            Float32Array.from(hashed(index, elements), (v) => 0.2 * v + 1),
          );
    weights.set(name, await made);
    index++;
  }
  return Model.fromWeights(config, device, weights);
}

describe.each(golden)("$dtype against PyTorch in float64 over the dequantized weights", (given) => {
  const flat = Int32Array.from(given.targets.flat());
  const batch = { tokens: Int32Array.from(given.ids.flat()), targets: flat, tokenCount: flat.length, byteCount: 0 };
  const create = async (gradientCheckpointing = false) => {
    const model = await quantizedModel(given);
    const adapter = await model.addAdapter("default", given.lora);
    for (const [i, { a, b }] of [...adapter.layers.values()].entries())
      for (const [tensor, first, factor] of [
        [model.weight(a), 2000, 0.3],
        [model.weight(b), 3000, 0.2],
      ] as const)
        await tensor.write(Float32Array.from(hashed(first + i, tensor.elements), (v) => v * factor));
    const shape = { sequences: 2, sequenceLength: given.ids[0]!.length, dtype: "f32" as const, gradientCheckpointing };
    const step = await TrainStep.create(model, languageModeling, shape, { names: adapterTensors(adapter) });
    return { model, step };
  };

  test.each([false, true])(
    "loss and the gradients of every A and B agree to 1e-4 (gradient checkpointing: %s)",
    async (again) => {
      const { model, step } = await create(again);
      const { loss } = await step.accumulate([batch]);
      expect(Math.abs(loss / given.losses[0]! - 1)).toBeLessThan(1e-5);
      expect(step.optimizer.gradients.size).toBe(Object.keys(given.gradients).length);
      for (const [name, expected] of Object.entries(given.gradients)) {
        const got = await step.optimizer.gradients.get(`gradient.${name}.default`)!.toFloat32();
        expect(Math.abs(Math.hypot(...got) - expected.norm), name).toBeLessThan(1e-4 * expected.norm);
        for (const [i, g] of expected.first.entries())
          expect(Math.abs(got[i]! - g), `${name}[${i}]`).toBeLessThan(1e-4 * expected.norm);
      }
      step.dispose();
      model.dispose();
    },
  );

  test("ten steps agree in losses to 4 digits, and the quantized blocks keep their bytes", async () => {
    const { model, step } = await create();
    const before = new Map<string, Uint8Array>();
    for (const name of model.weightNames) before.set(name, new Uint8Array((await model.weight(name).read()).buffer));
    for (const [i, expected] of given.losses.entries()) {
      const { loss } = await step.run([batch], 1e-2);
      expect(Math.abs(loss / expected - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);
    }
    for (const [name, old] of before) {
      expect(isQuantized(model.weight(name).dtype), name).toBe(model.weight(name).shape.length === 2);
      expect(new Uint8Array((await model.weight(name).read()).buffer), name).toEqual(old);
    }
    step.dispose();
    model.dispose();
  });
});

describe.each(["q4_0", "q8_0", "q4_k"] as const)("a GGUF file in %s", (dtype) => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "heddle-qlora-"));
    const sizes = { hiddenSize: 256, intermediateSize: 512, initializerRange: 1 / 16 };
    await using plain = tinyModel({ tokenizer: await tinyTokenizer() }, sizes);
    await plain.save(join(folder, "plain"));
    await convertModel(join(folder, "plain"), join(folder, "base.gguf"), { dtype });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("is adapted, saved, loaded, merged and restored", async () => {
    await using base = await LanguageModel.load(join(folder, "base.gguf"), { quantizedActivations: "f32" });
    const blocksOf = async (model: LanguageModel) => {
      const out = new Map<string, string>();
      for (const name of model.model.weightNames)
        out.set(name, Buffer.from((await model.model.weight(name).read()).buffer).toString("base64"));
      return out;
    };
    const before = await blocksOf(base);
    const data = sentences.slice(0, 16).map((text) => ({ text }));
    const outputDir = join(folder, "adapter");
    const losses: number[] = [];
    const given = { data, maxSteps: 24, learningRate: 3e-3, perDeviceTrainBatchSize: 8, lora: { r: 8 }, outputDir };
    for await (const event of sft(base, given)) if ("loss" in event) losses.push(event.loss);
    expect(losses.at(-1)!).toBeLessThan(0.7 * losses[0]!);
    expect(await blocksOf(base)).toEqual(before);

    const ids = Array.from((await tinyTokenizer()).encode(sentences[3]!)).slice(0, 12);
    const adapted = (await base.logits(ids)).map((row) => [...row]);
    await using fresh = await LanguageModel.load(join(folder, "base.gguf"), { quantizedActivations: "f32" });
    const unadapted = (await fresh.logits(ids)).map((row) => [...row]);
    await fresh.loadAdapter(outputDir);
    expect((await fresh.logits(ids)).map((row) => [...row])).toEqual(adapted);
    const range = Math.max(...adapted.flat()) - Math.min(...adapted.flat());
    const relativeDifference = (a: number[][], b: number[][]) => maxRowDifference(a, b) / range;
    expect(relativeDifference(adapted, unadapted)).toBeGreaterThan(0.05);
    await fresh.model.mergeAdapter("default");
    expect(fresh.model.weight("model.layers.0.mlp.up_proj.weight").dtype).toBe("f32");
    const merged = (await fresh.logits(ids)).map((row) => [...row]);
    expect(relativeDifference(merged, adapted)).toBeLessThan(1e-5);
    // The merged model is saved as a model without an adapter.
    await fresh.save(join(folder, "merged"));
    await using whole = await LanguageModel.load(join(folder, "merged"));
    expect(
      relativeDifference(
        (await whole.logits(ids)).map((row) => [...row]),
        adapted,
      ),
    ).toBeLessThan(1e-5);
    fresh.model.unmergeAdapters();
    expect(await blocksOf(fresh)).toEqual(before);
    expect((await fresh.logits(ids)).map((row) => [...row])).toEqual(adapted);
  });
});
