// bf16 steps with frozen f32 weights have the losses of bf16 weights, and their arena holds no rounded copies of frozen matrices.
import { expect, test } from "vitest";
import { castBytes } from "../../../lib/formats/native-cast.ts";
import { Tensor } from "../../../lib/graph/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { Model } from "../../../lib/models/model.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModeling } from "../../../lib/train/losses/language-modeling.ts";
import { tinyModel } from "../../inference/helpers.ts";

const shape = { sequences: 2, sequenceLength: 16, dtype: "bf16" as const };
const tokens = Int32Array.from({ length: 32 }, (_, i) => (i * 7919) % 320);
const batch = { tokens, targets: tokens.map((_, i) => (i * 131) % 320), tokenCount: 32, byteCount: 0 };

/** Runs three steps of an adapter. */
async function adapted(model: Model) {
  const names = adapterTensors(await model.addAdapter("default", { r: 4 }));
  const step = await TrainStep.create(model, languageModeling, shape, { names });
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) losses.push((await step.run([batch], 1e-2)).loss);
  losses.push((await step.evaluate(batch)).loss);
  const { arenaBytes } = step;
  step.dispose();
  return { losses, arenaBytes };
}

test("an adapter over f32 weights has the losses of one over the same weights stored in bf16", async () => {
  await using wide = tinyModel();
  const copies = new Map<string, Tensor>();
  for (const name of wide.model.weightNames) {
    const { shape } = wide.model.weight(name);
    const values = await wide.model.weight(name).toFloat32();
    const rounded = () => new Uint16Array(castBytes(new Uint8Array(values.buffer), "f32", "bf16", name).buffer);
    const [dtype, data] = shape.length >= 2 ? (["bf16", rounded()] as const) : (["f32", values] as const);
    copies.set(name, await Tensor.from(wide.model.device, dtype, shape, data));
  }
  const narrow = await Model.fromWeights(wide.model.config, wide.model.device, copies);
  const before = await wide.model.weight("model.layers.0.mlp.up_proj.weight").toFloat32();
  const [a, b] = [await adapted(wide.model), await adapted(narrow)];
  expect(a.losses).toEqual(b.losses);
  expect(a.losses[2]).toBeLessThan(a.losses[0]!);
  expect(a.arenaBytes).toBe(b.arenaBytes); // the f32 model's arena has no rounded copies of frozen matrices
  expect(await wide.model.weight("model.layers.0.mlp.up_proj.weight").toFloat32()).toEqual(before);
  narrow.dispose();
});
