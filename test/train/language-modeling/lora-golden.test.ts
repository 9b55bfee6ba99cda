import { describe, expect, test } from "vitest";
import type { Batch } from "../../../lib/data/corpus.ts";
import { compile, logitsOf, openDevice } from "../../../lib/graph/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { rowInputs, sequenceForward } from "../../../lib/models/forward.ts";
import type { Model } from "../../../lib/models/model.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import golden from "../../golden/lora.json" with { type: "json" };
import { type GoldenName, goldenModel, hashed } from "../../golden/weights.ts";

const device = openDevice();

interface LoraGolden {
  model: GoldenName;
  lora: { r: number; alpha: number; targets: string[] | null; useRslora?: boolean };
  layers: string[];
  ids: number[][];
  targets: number[][];
  logitsAtLast: number[][];
  gradients: Record<string, { norm: number; first: number[] }>;
  losses: number[];
  gradNorms: number[];
}

const cases = Object.entries(golden) as unknown as [string, LoraGolden][];

/** Creates the base with the adapter, with A and B as the reference computes them. */
async function adapted({ model: name, lora, layers }: LoraGolden): Promise<Model> {
  const model = await goldenModel(name, device);
  const { targets, ...rest } = lora;
  const adapter = await model.addAdapter("default", { ...rest, ...(targets && { targetModules: targets }) });
  expect([...adapter.layers.keys()]).toEqual(layers);
  for (const [i, { a, b }] of [...adapter.layers.values()].entries()) {
    for (const [tensor, first, factor] of [
      [model.weight(a), 2000, 0.3],
      [model.weight(b), 3000, 0.2],
    ] as const)
      await tensor.write(Float32Array.from(hashed(first + i, tensor.elements), (v) => v * factor));
  }
  return model;
}

function batchOf({ ids, targets }: LoraGolden): Batch {
  const flat = Int32Array.from(targets.flat());
  return {
    tokens: Int32Array.from(ids.flat()),
    targets: flat,
    tokenCount: flat.filter((t) => t >= 0).length,
    byteCount: 0,
  };
}

async function create(model: Model, given: LoraGolden, dtype: "f32" | "bf16" = "f32") {
  const shape = { sequences: given.ids.length, sequenceLength: given.ids[0]!.length, dtype };
  const names = adapterTensors(model.adapters.get("default")!);
  return TrainStep.create(model, languageModeling, shape, { names, weightDecay: 0.1, maxGradNorm: 1 });
}

async function lastLogits(model: Model, given: LoraGolden): Promise<number[][]> {
  const T = given.ids[0]!.length;
  const rows = given.ids.length * T;
  const program = compile(() => {
    const { hidden, head } = sequenceForward(model, rowInputs(rows), { sequenceLength: T });
    return { logits: logitsOf(hidden, head) };
  });
  const positions = Int32Array.from({ length: rows }, (_, i) => i % T);
  const { logits } = await program.bind(device, model.tensors).run({ ids: batchOf(given).tokens, positions });
  const { vocabSize } = model.config;
  return given.ids.map((_, b) => [...logits.slice(((b + 1) * T - 1) * vocabSize, (b + 1) * T * vocabSize)]);
}

function expectLogits(got: number[][], expected: number[][]) {
  const range = Math.max(...expected.flat()) - Math.min(...expected.flat());
  for (const [b, row] of expected.entries())
    for (const [v, logit] of row.entries()) expect(Math.abs(got[b]![v]! - logit)).toBeLessThan(1e-5 * range);
}

describe.each(cases)("%s against PyTorch in float64", (_, given) => {
  test("logits agree with the adapter applied, merged and unmerged", async () => {
    const model = await adapted(given);
    const layer = given.layers[0]!;
    const before = await model.weight(`${layer}.weight`).toFloat32();
    expectLogits(await lastLogits(model, given), given.logitsAtLast);
    await model.mergeAdapter("default");
    expect(model.activeAdapters).toEqual([]);
    expect(await model.weight(`${layer}.weight`).toFloat32()).not.toEqual(before);
    expectLogits(await lastLogits(model, given), given.logitsAtLast);
    model.unmergeAdapters();
    expect(await model.weight(`${layer}.weight`).toFloat32()).toEqual(before);
    expectLogits(await lastLogits(model, given), given.logitsAtLast);
    model.dispose();
  });

  test("loss and the gradients of every A and B have a relative error of at most 1e-5", async () => {
    const model = await adapted(given);
    const step = await create(model, given);
    const { loss } = await step.accumulate([batchOf(given)]);
    expect(Math.abs(loss / given.losses[0]! - 1)).toBeLessThan(1e-5);
    expect(Object.keys(given.gradients)).toHaveLength(2 * given.layers.length);
    for (const [name, expected] of Object.entries(given.gradients)) {
      const got = await step.optimizer.gradients.get(`gradient.${name}.default`)!.toFloat32();
      expect(Math.abs(Math.hypot(...got) - expected.norm), name).toBeLessThan(1e-5 * expected.norm + 1e-9);
      for (const [i, g] of expected.first.entries())
        expect(Math.abs(got[i]! - g), `${name}[${i}]`).toBeLessThan(1e-5 * expected.norm + 1e-9);
    }
    step.dispose();
    model.dispose();
  });

  test("ten AdamW steps agree in losses to 5 digits and in gradient norms to 4, and the base keeps its bytes", async () => {
    const model = await adapted(given);
    const before = new Map<string, Float32Array>();
    for (const name of model.weightNames) before.set(name, await model.weight(name).toFloat32());
    const step = await create(model, given);
    for (const [i, expected] of given.losses.entries()) {
      const { loss, gradNorm } = await step.run([batchOf(given)], 1e-2);
      expect(Math.abs(loss / expected - 1), `loss of step ${i + 1}`).toBeLessThan(1e-5);
      expect(Math.abs(gradNorm / given.gradNorms[i]! - 1), `norm of step ${i + 1}`).toBeLessThan(1e-4);
    }
    for (const [name, old] of before) expect(await model.weight(name).toFloat32(), name).toEqual(old);
    step.dispose();
    model.dispose();
  });

  test("losses in bf16 are within 1 % of PyTorch's in float64", async () => {
    const model = await adapted(given);
    const step = await create(model, given, "bf16");
    for (const expected of given.losses) {
      const { loss } = await step.run([batchOf(given)], 1e-2);
      expect(Math.abs(loss / expected - 1)).toBeLessThan(0.01);
    }
    step.dispose();
    model.dispose();
  });
});
