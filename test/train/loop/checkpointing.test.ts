import { describe, expect, test } from "vitest";
import type { Batch } from "../../../lib/data/batch.ts";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import {
  add,
  compile,
  gradients,
  input,
  openDevice,
  recomputable,
  scale,
  sum,
  tanh,
  type Value,
} from "../../../lib/graph/index.ts";
import { Model } from "../../../lib/models/model.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { goldenCase, goldenModel, goldenNames } from "../../golden/weights.ts";

const device = openDevice();

async function gradientsOf(model: Model, batch: Batch, shape: Parameters<typeof TrainStep.create>[2], seed = 0) {
  const step = await TrainStep.create(model, languageModeling, shape, { seed });
  const { loss } = await step.accumulate([batch]);
  const found = new Map<string, Float32Array>();
  for (const [name, t] of step.optimizer.gradients) found.set(name, await t.toFloat32());
  const { arenaBytes } = step;
  step.dispose();
  return { loss, gradients: found, arenaBytes };
}

const expectEqualBits = (a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>) => {
  expect([...a.keys()]).toEqual([...b.keys()]);
  for (const [name, values] of a)
    expect(Buffer.from(values.buffer).equals(Buffer.from(b.get(name)!.buffer)), name).toBe(true);
};

describe("gradient checkpointing", () => {
  test.each(goldenNames.flatMap((name) => (["f32", "bf16"] as const).map((dtype) => [name, dtype] as const)))(
    "%s in %s: the same loss and gradients, to the bit",
    async (name, dtype) => {
      const golden = goldenCase(name);
      const targets = Int32Array.from(golden.targets.flat());
      const tokens = Int32Array.from(golden.ids.flat());
      const batch = { tokens, targets, tokenCount: targets.filter((t) => t >= 0).length, byteCount: 0 };
      const model = await goldenModel(name, device);
      const shape = { sequences: 2, sequenceLength: golden.ids[0]!.length, dtype };
      const plain = await gradientsOf(model, batch, shape);
      const again = await gradientsOf(model, batch, { ...shape, gradientCheckpointing: true });
      expect(again.loss).toBe(plain.loss);
      expectEqualBits(again.gradients, plain.gradients);
      model.dispose();
    },
  );

  test("an adapter's dropout drops the same elements in the recomputation", async () => {
    const golden = goldenCase("llama");
    const targets = Int32Array.from(golden.targets.flat());
    const batch = { tokens: Int32Array.from(golden.ids.flat()), targets, tokenCount: 45, byteCount: 0 };
    const model = await goldenModel("llama", device);
    const adapter = await model.addAdapter("default", { r: 4, dropout: 0.3 });
    const names = [...adapter.layers.values()].flatMap(({ a, b }) => [a, b]);
    // B is zero at first, so A would get no gradient.
    for (const { b } of adapter.layers.values()) {
      const stored = model.weight(b);
      await stored.write(
        Float32Array.from({ length: stored.shape[0]! * stored.shape[1]! }, (_, i) => Math.sin(i) / 10),
      );
    }
    const run = async (gradientCheckpointing: boolean, seed = 5) => {
      const shape = {
        sequences: 2,
        sequenceLength: golden.ids[0]!.length,
        dtype: "f32" as const,
        gradientCheckpointing,
      };
      const step = await TrainStep.create(model, languageModeling, shape, { names, seed });
      await step.accumulate([batch]);
      const found = new Map<string, Float32Array>();
      for (const [name, t] of step.optimizer.gradients) found.set(name, await t.toFloat32());
      step.dispose();
      return found;
    };
    const plain = await run(false);
    expectEqualBits(await run(true), plain);
    // Another seed drops other elements, which shows that dropout is active.
    expect(await run(false, 6)).not.toEqual(plain);
    model.dispose();
  });

  test("each further layer adds only the residual stream and the block's output to memory", async () => {
    const arena = async (numHiddenLayers: number, gradientCheckpointing: boolean) => {
      const config = parseModelConfig({
        modelType: "llama",
        vocabSize: 64,
        hiddenSize: 64,
        intermediateSize: 172,
        numHiddenLayers,
        numAttentionHeads: 4,
        numKeyValueHeads: 2,
        maxPositionEmbeddings: 256,
      });
      const model = Model.create(config, device);
      const shape = { sequences: 8, sequenceLength: 256, dtype: "f32" as const, gradientCheckpointing };
      const step = await TrainStep.create(model, languageModeling, shape);
      const { arenaBytes } = step;
      step.dispose();
      model.dispose();
      return arenaBytes;
    };
    const rows = 8 * 256;
    const [few, many] = [await arena(4, true), await arena(12, true)];
    const [fewPlain, manyPlain] = [await arena(4, false), await arena(12, false)];
    // Per layer: the residual stream and the block's output, in f32.
    const kept = 2 * rows * 64 * 4;
    expect((many - few) / 8).toBeLessThan(1.1 * kept);
    expect((many - few) / 8).toBeGreaterThan(0.9 * kept);
    expect((manyPlain - fewPlain) / 8).toBeGreaterThan(5 * kept);
    expect(many).toBeLessThan(manyPlain / 3);
  });
});

test("gradients through recomputed segments equal those of the plain program, also for a value used outside its segment", async () => {
  const build = (recompute: boolean) =>
    compile(() => {
      const x = input("x", "f32", [5]);
      const y = input("y", "f32", [5]);
      const inner: Value[] = [];
      const h = recomputable(() => {
        const a = tanh(x);
        inner.push(a);
        return recomputable(() => tanh(scale(a, 2)));
      });
      const loss = sum(
        tanh(
          scale(
            recomputable(() => tanh(tanh(h))),
            3,
          ),
        ),
      );
      // Uses a value outside the recomputed segment that computes it.
      const more = sum(tanh(scale(inner[0]!, 0.5)));
      const both = sum(tanh(scale(y, 2)));
      const total = [loss, more, both].reduce(add);
      const [dx, dy] = gradients(total, [x, y], input("seed", "f32", [1]), { recompute });
      return { total, dx: dx!, dy: dy! };
    }).bind(device, new Map());
  const inputs = {
    x: Float32Array.of(0.1, -0.5, 0.9, 2, -3),
    y: Float32Array.of(1, 2, 3, -1, 0),
    seed: Float32Array.of(1),
  };
  expect(await build(true).run(inputs)).toEqual(await build(false).run(inputs));
});
