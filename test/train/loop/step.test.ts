import { expect, test } from "vitest";
import type { Batch } from "../../../lib/data/corpus.ts";
import { add, crossEntropy, input, mul, openDevice, scale, sum } from "../../../lib/graph/index.ts";
import type { Stage } from "../../../lib/train/loop/stage.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { goldenCase, goldenModel } from "../../golden/weights.ts";
import { worlds } from "../world/worlds.ts";

const device = openDevice();
const golden = goldenCase("llama");
const T = golden.ids[0]!.length;
const shape = (sequences: number) => ({ sequences, sequenceLength: T, dtype: "f32" as const });

/** Builds a batch of golden rows in which only the first `kept` positions have targets. */
function batchOf(rows: readonly number[], kept = T): Batch {
  const targets = rows.flatMap((r) => golden.targets[r]!.map((t, i) => (i < kept ? t : -100)));
  const tokens = Int32Array.from(rows.flatMap((r) => golden.ids[r]!));
  return { tokens, targets: Int32Array.from(targets), tokenCount: targets.filter((t) => t >= 0).length, byteCount: 0 };
}

async function gradientsOf<B>(step: TrainStep<B>): Promise<Map<string, Float32Array>> {
  const read = [...step.optimizer.gradients].map(async ([name, t]) => [name, await t.toFloat32()] as const);
  return new Map(await Promise.all(read));
}

function expectClose(got: ReadonlyMap<string, Float32Array>, expected: ReadonlyMap<string, Float32Array>) {
  expect([...got.keys()]).toEqual([...expected.keys()]);
  for (const [name, values] of expected) {
    const norm = Math.hypot(...values);
    const error = Math.hypot(...values.map((v, i) => v - got.get(name)![i]!));
    expect(error, name).toBeLessThan(1e-5 * norm + 1e-9);
  }
}

test("micro-batches with different numbers of targets add up to the whole batch's mean", async () => {
  const [whole, parts] = [await goldenModel("llama", device), await goldenModel("llama", device)];
  const one = await TrainStep.create(whole, languageModeling, shape(2));
  const two = await TrainStep.create(parts, languageModeling, shape(1));
  const first = batchOf([0], 3);
  const second = batchOf([1]);
  const joined: Batch = {
    tokens: Int32Array.from([...first.tokens, ...second.tokens]),
    targets: Int32Array.from([...first.targets, ...second.targets]),
    tokenCount: first.tokenCount + second.tokenCount,
    byteCount: 0,
  };
  const a = await one.accumulate([joined]);
  const b = await two.accumulate([first, second]);
  expect(Math.abs(a.loss / b.loss - 1)).toBeLessThan(1e-6);
  expectClose(await gradientsOf(two), await gradientsOf(one));
  for (const step of [one, two]) step.dispose();
});

test("weights that are not among the trained names keep their bytes and have no moments", async () => {
  const model = await goldenModel("llama", device);
  const names = ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"];
  const before = new Map<string, Float32Array>();
  for (const name of model.weightNames) before.set(name, await model.weight(name).toFloat32());
  const step = await TrainStep.create(model, languageModeling, shape(2), { names });
  for (let i = 0; i < 3; i++) await step.run([batchOf([0, 1])], 1e-2);
  expect([...step.optimizer.moments.keys()]).toEqual(names.flatMap((n) => [`m.${n}`, `v.${n}`]));
  for (const [name, old] of before) {
    const now = await model.weight(name).toFloat32();
    expect(Buffer.from(now.buffer).equals(Buffer.from(old.buffer)), name).toBe(!names.includes(name));
  }
  step.dispose();
});

test("a step reports further outputs of a loss as sums, or as the stage's metrics", async () => {
  const watched = (own: boolean): Stage<Batch> => ({
    ...languageModeling,
    loss(context) {
      // Two passes in one loss, over the same weights.
      const [{ hidden, head }, again] = [context.forward(), context.forward()];
      const targets = input("targets", "i32", [context.rows]);
      const weights = input("lossWeights", "f32", [context.rows]);
      const loss = scale(
        add(crossEntropy(hidden, head, targets, weights), crossEntropy(again.hidden, again.head, targets, weights)),
        0.5,
      );
      return { loss, counted: sum(mul(weights, weights)) };
    },
    ...(own && {
      metrics: (outputs: readonly Record<string, ArrayLike<number>>[], batches: readonly Batch[]) => ({
        micros: outputs.length,
        largest: Math.max(...outputs.map((o) => o.counted![0]!)) * batches.length,
      }),
    }),
  });
  const model = await goldenModel("llama", device);
  const plain = await TrainStep.create(model, languageModeling, shape(1));
  const summed = await TrainStep.create(model, watched(false), shape(1));
  const own = await TrainStep.create(model, watched(true), shape(1));
  const micros = [batchOf([0]), batchOf([1])];
  const count = micros[0]!.tokenCount + micros[1]!.tokenCount;
  const expected = await plain.accumulate(micros);
  const result = await summed.accumulate(micros);
  expect(expected.metrics).toEqual({});
  expect(result.loss).toBeCloseTo(expected.loss, 5);
  expectClose(await gradientsOf(summed), await gradientsOf(plain));
  expect(result.metrics.counted).toBeCloseTo(1 / count, 6);
  const { metrics } = await own.accumulate(micros);
  expect(metrics).toEqual({
    micros: 2,
    largest: expect.closeTo((2 * Math.max(...micros.map((m) => m.tokenCount))) / count ** 2, 6),
  });
  const held = await summed.evaluate(micros[0]!);
  expect(held.metrics.counted).toBeCloseTo(1 / micros[0]!.tokenCount, 6);
  for (const step of [plain, summed, own]) step.dispose();
});

test("two ranks with half of a batch each give the same step as one process with the whole batch", async () => {
  const alone = await goldenModel("llama", device);
  const step = await TrainStep.create(alone, languageModeling, shape(1));
  const micros = [batchOf([0], 5), batchOf([1])];
  const ranks = await Promise.all(
    worlds(2).map(async (world) => {
      const model = await goldenModel("llama", device);
      return { model, step: await TrainStep.create(model, languageModeling, shape(1), { world }) };
    }),
  );
  for (let i = 0; i < 3; i++) {
    const expected = await step.run(micros, 1e-3);
    const results = await Promise.all(ranks.map((rank, r) => rank.step.run([micros[r]!], 1e-3)));
    for (const result of results) {
      expect(result.loss).toBeCloseTo(expected.loss, 5);
      expect(result.gradNorm).toBeCloseTo(expected.gradNorm, 4);
      expect(result.tokens).toBe(expected.tokens);
    }
  }
  const [a, b] = await Promise.all(ranks.map(({ model }) => model.weight("model.embed_tokens.weight").toFloat32()));
  expect(a).toEqual(b);
  const whole = await alone.weight("model.embed_tokens.weight").toFloat32();
  expect(Math.hypot(...whole.map((v, i) => v - a![i]!))).toBeLessThan(1e-4 * Math.hypot(...whole));
});
