// Training on the device under test (HEDDLE_DEVICE) and on one CPU thread gives the same losses within 1 %. The stages are pre-training,
// supervised steps of an adapter, and preference steps.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../lib/graph/index.ts";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-device-"));
  await writeFile(join(folder, "train.txt"), sentences.slice(0, 60).join("\n\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function lossesOf(events: AsyncIterable<TrainEvent>): Promise<number[]> {
  const losses: number[] = [];
  for await (const event of events) if ("loss" in event) losses.push(event.loss);
  return losses;
}

async function run(device: Device, train: (model: ReturnType<typeof tinyModel>) => AsyncIterable<TrainEvent>) {
  await using model = tinyModel({ tokenizer: await tinyTokenizer(), device }, { initializerRange: 0.05 });
  expect(model.model.device.name).toBe(device.name);
  return await lossesOf(train(model));
}

const shape = { maxSteps: 6, perDeviceTrainBatchSize: 2, maxSeqLength: 24, seed: 4 };
const pairs = sentences.slice(0, 12).map((text, i) => ({
  prompt: text.slice(0, 12),
  chosen: text.slice(12, 30),
  rejected: sentences[i + 20]!.slice(14, 30),
}));

describe.each(["f32", "bf16"] as const)("training in %s", (dtype) => {
  test.each([
    [
      "pretraining",
      (model) => pretrain(model, { ...shape, dtype, data: join(folder, "train.txt"), learningRate: 3e-3 }),
    ],
    [
      "supervised fine-tuning with an adapter",
      (model) =>
        sft(model, {
          ...shape,
          dtype,
          data: sentences.slice(0, 12).map((text) => ({ prompt: text.slice(0, 12), completion: text.slice(12) })),
          learningRate: 1e-2,
          lora: { r: 4, targetModules: ["q_proj", "v_proj"] },
        }),
    ],
    ["preference training", (model) => dpo(model, { ...shape, dtype, data: pairs, learningRate: 1e-3 })],
  ] satisfies [string, Parameters<typeof run>[1]][])("has the losses of one CPU thread in %s", async (_, train) => {
    const expected = await run(openDevice({ device: "cpu", threads: 1 }), train);
    const got = await run(openDevice(), train);
    expect(expected).toHaveLength(shape.maxSteps);
    expect(expected.at(-1)).toBeLessThan(expected[0]!); // it learns; otherwise equal losses would prove little
    for (const [i, loss] of expected.entries())
      expect(Math.abs(got[i]! / loss - 1), `step ${i + 1}`).toBeLessThan(0.01);
  });
});
