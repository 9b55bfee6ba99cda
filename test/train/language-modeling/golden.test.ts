import { describe, expect, test } from "vitest";
import type { Batch } from "../../../lib/data/corpus.ts";
import { compile, logitsOf, openDevice } from "../../../lib/graph/index.ts";
import { rowInputs, sequenceForward } from "../../../lib/models/forward.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { type GoldenCase, goldenCase, goldenModel, goldenNames } from "../../golden/weights.ts";

const device = openDevice();

function batchOf(golden: GoldenCase, rows = golden.ids.map((_, i) => i)): Batch {
  const tokens = Int32Array.from(rows.flatMap((r) => golden.ids[r]!));
  const targets = Int32Array.from(rows.flatMap((r) => golden.targets[r]!));
  return { tokens, targets, tokenCount: targets.filter((t) => t >= 0).length, byteCount: 0 };
}

function create(
  model: Awaited<ReturnType<typeof goldenModel>>,
  golden: GoldenCase,
  sequences = 2,
  dtype: "f32" | "bf16" = "f32",
) {
  const shape = { sequences, sequenceLength: golden.ids[0]!.length, dtype };
  return TrainStep.create(model, languageModeling, shape, {
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weightDecay: 0.1,
    maxGradNorm: 1,
  });
}

describe.each(goldenNames)("%s against PyTorch in float64", (name) => {
  const golden = goldenCase(name);

  test("logits have an error of at most 1e-5 of their range", async () => {
    const model = await goldenModel(name, device);
    const T = golden.ids[0]!.length;
    const program = compile(() => {
      const { hidden, head } = sequenceForward(model, rowInputs(2 * T), { sequenceLength: T });
      return { logits: logitsOf(hidden, head) };
    });
    const positions = Int32Array.from({ length: 2 * T }, (_, i) => i % T);
    const { logits } = await program.bind(device, model.tensors).run({ ids: batchOf(golden).tokens, positions });
    const vocab = model.config.vocabSize;
    const range = Math.max(...golden.logitsAtLast.flat()) - Math.min(...golden.logitsAtLast.flat());
    golden.logitsAtLast.forEach((row, b) => {
      row.forEach((expected, v) => {
        expect(Math.abs(logits[((b + 1) * T - 1) * vocab + v]! - expected)).toBeLessThan(1e-5 * range);
      });
    });
    model.dispose();
  });

  test("loss and every gradient have a relative error of at most 1e-5", async () => {
    const model = await goldenModel(name, device);
    const step = await create(model, golden);
    const { loss } = await step.accumulate([batchOf(golden)]);
    expect(Math.abs(loss / golden.losses[0]! - 1)).toBeLessThan(1e-5);
    for (const [weight, expected] of Object.entries(golden.gradients)) {
      const got = await step.optimizer.gradients.get(`gradient.${weight}`)!.toFloat32();
      const norm = Math.sqrt(got.reduce((n, g) => n + g * g, 0));
      expect(Math.abs(norm - expected.norm), weight).toBeLessThan(1e-5 * expected.norm + 1e-9);
      expected.first.forEach((g, i) => {
        expect(Math.abs(got[i]! - g), `${weight}[${i}]`).toBeLessThan(1e-5 * expected.norm + 1e-9);
      });
    }
    step.dispose();
    model.dispose();
  });

  test("ten AdamW steps agree in losses to 5 digits and in gradient norms to 4", async () => {
    const model = await goldenModel(name, device);
    const step = await create(model, golden);
    for (const [i, expected] of golden.losses.entries()) {
      const { loss, gradNorm } = await step.run([batchOf(golden)], 1e-3);
      expect(Math.abs(loss / expected - 1), `loss of step ${i + 1}`).toBeLessThan(1e-5);
      expect(Math.abs(gradNorm / golden.gradNorms[i]! - 1), `norm of step ${i + 1}`).toBeLessThan(1e-4);
    }
    step.dispose();
    model.dispose();
  });

  test("losses in bf16 are within 1 % of PyTorch's in float64", async () => {
    const model = await goldenModel(name, device);
    const step = await create(model, golden, 2, "bf16");
    for (const expected of golden.losses) {
      const { loss } = await step.run([batchOf(golden)], 1e-3);
      expect(Math.abs(loss / expected - 1)).toBeLessThan(0.01);
    }
    step.dispose();
    model.dispose();
  });
});

test("two accumulated micro-batches equal one batch", async () => {
  const golden = goldenCase("llama");
  const [whole, halves] = [await goldenModel("llama", device), await goldenModel("llama", device)];
  const [one, two] = [await create(whole, golden), await create(halves, golden, 1)];
  for (let i = 0; i < 3; i++) {
    const a = await one.run([batchOf(golden)], 1e-3);
    const b = await two.run([batchOf(golden, [0]), batchOf(golden, [1])], 1e-3);
    expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(1e-6);
    expect(Math.abs(a.gradNorm / b.gradNorm - 1)).toBeLessThan(1e-5);
  }
  for (const step of [one, two]) step.dispose();
  for (const model of [whole, halves]) model.dispose();
});

test("frozen weights keep their bytes and get no gradient", async () => {
  const golden = goldenCase("llama");
  const model = await goldenModel("llama", device);
  const before = await model.weight("model.layers.0.mlp.up_proj.weight").toFloat32();
  const step = await TrainStep.create(
    model,
    languageModeling,
    { sequences: 2, sequenceLength: golden.ids[0]!.length, dtype: "f32" },
    { names: ["model.norm.weight"] },
  );
  const first = await step.run([batchOf(golden)], 1e-2);
  const second = await step.run([batchOf(golden)], 1e-2);
  expect(second.loss).toBeLessThan(first.loss);
  expect(step.optimizer.gradients.size).toBe(1);
  expect(await model.weight("model.layers.0.mlp.up_proj.weight").toFloat32()).toEqual(before);
  step.dispose();
  model.dispose();
});
