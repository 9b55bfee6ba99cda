// Training that does not fit into memory is rejected with OUT_OF_MEMORY and the option's name, before the memory is allocated.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { availableBytes } from "../../../lib/graph/device.ts";
import { openDevice } from "../../../lib/graph/index.ts";
import { needRoom, needRoomForBatches, watchBatches } from "../../../lib/train/loop/needed-memory.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

const data = sentences.map((text) => ({ text }));
const outOfMemory = (message: RegExp) => ({ code: "OUT_OF_MEMORY", message: expect.stringMatching(message) });

async function newModel() {
  return tinyModel({ tokenizer: await tinyTokenizer() });
}

describe("a run with too large a micro-batch", () => {
  test.each([4_000_000, 1_000_000_000, 2 ** 40])("is rejected: perDeviceTrainBatchSize %d", async (size) => {
    await using model = await newModel();
    const before = process.memoryUsage().rss;
    const texts = data.map(({ text }) => ({ text: `${text} `.repeat(16) }));
    const run = sft(model, {
      data: texts,
      maxSteps: 1,
      perDeviceTrainBatchSize: size,
      maxSeqLength: 64,
      packing: true,
    });
    await expect(run).rejects.toMatchObject(
      outOfMemory(
        /^perDeviceTrainBatchSize: expected micro-batches that fit into the [\d.]+ [MGT]B of memory that are left, got [\d,]+ sequences of 64 positions, which take about [\d,.]+ [GT]B; a smaller batch takes less, and so does gradientCheckpointing$/,
      ),
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
    // The model is unchanged.
    expect(await pretrain(model, { data, maxSteps: 1, maxSeqLength: 16 })).toMatchObject({ steps: 1 });
  });

  test("too large a micro-batch of raw text is rejected because of the limit on tokens per micro-batch", async () => {
    await using model = await newModel();
    const options = { data, maxSteps: 1, perDeviceTrainBatchSize: 2 ** 30, maxSeqLength: 64 };
    await expect(pretrain(model, options)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `perDeviceTrainBatchSize: expected at most 2^28 tokens a micro-batch, got ${2 ** 36}`,
    });
  });

  test("is rejected because of its planned memory, even if one hidden state per position would fit", async () => {
    await using model = await newModel();
    // A position's planned values take many times the memory of its hidden state. At this size only the hidden states would fit.
    const size = Math.floor((0.5 * availableBytes()) / (2 * model.config.hiddenSize * 64));
    const run = pretrain(model, { data, maxSteps: 1, perDeviceTrainBatchSize: size, maxSeqLength: 64 });
    await expect(run).rejects.toMatchObject(outOfMemory(/^perDeviceTrainBatchSize: expected micro-batches that fit/));
  });

  test("is rejected as replay.perDeviceTrainBatchSize if it is the replay's", async () => {
    await using model = await newModel();
    const replay = { stage: "sft" as const, data: "none", perDeviceTrainBatchSize: 1 };
    const file = join(temporaryFolder(), "rows.jsonl");
    await writeFile(file, data.map((row) => JSON.stringify(row)).join("\n"));
    const run = sft(model, {
      data,
      maxSteps: 1,
      replay: { ...replay, data: file, perDeviceTrainBatchSize: 1_000_000_000 },
    });
    await expect(run).rejects.toMatchObject(outOfMemory(/^replay\.perDeviceTrainBatchSize: expected micro-batches/));
  });
});

describe("a step of too many micro-batches", () => {
  test("is rejected before the first one is read", async () => {
    await using model = await newModel();
    const options = { data, maxSteps: 1, perDeviceTrainBatchSize: 1, maxSeqLength: 16 };
    await expect(pretrain(model, { ...options, gradientAccumulationSteps: 1e12 })).rejects.toMatchObject(
      outOfMemory(
        /^gradientAccumulationSteps: expected micro-batches that fit into the [\d.]+ [MGT]B of memory that are left, got 1,000,000,000,000, which take at least 384 TB$/,
      ),
    );
    await expect(sft(model, { ...options, gradientAccumulationSteps: 1e12 })).rejects.toMatchObject(
      outOfMemory(/^gradientAccumulationSteps: /),
    );
    expect(await pretrain(model, { ...options, gradientAccumulationSteps: 300 })).toMatchObject({ steps: 1 });
  });

  test("is rejected if answers are sampled from the model", async () => {
    await using model = await newModel();
    const run = grpo(model, {
      prompts: [{ prompt: "The" }],
      rewards: [() => [0]],
      maxSteps: 1,
      numGenerations: 2,
      perDeviceTrainBatchSize: 2,
      maxCompletionLength: 4,
      gradientAccumulationSteps: 1e12,
    });
    await expect(run).rejects.toMatchObject(outOfMemory(/^gradientAccumulationSteps: /));
  });

  test("is rejected while collecting batches larger than estimated", () => {
    const [roomy, full] = [1e9, 1e6].map((bytes) => ({ system: () => bytes, heapShare: () => 0.5 }));
    const heap = { system: () => 1e9, heapShare: () => 0.9 };
    watchBatches(256, 1e6, roomy);
    watchBatches(255, 1e6, full);
    const message =
      "gradientAccumulationSteps: expected micro-batches that fit into the 1 MB of memory that are left, got 1,000,000, of which the first 512 already fill it";
    expect(() => watchBatches(512, 1e6, full)).toThrow(message);
    expect(() => watchBatches(512, 1e6, heap)).toThrow(/^gradientAccumulationSteps: /);
  });
});

describe("the memory check", () => {
  const shape = { sequences: 4, sequenceLength: 100, dtype: "f32" } as const;
  const left = { system: () => 1000, heapShare: () => 0 };
  const cpu = { kind: "cpu", arenaBytes: 500 } as const;

  test("counts the system's free memory and what earlier runs keep for reuse", () => {
    needRoom(cpu, shape, 1500, undefined, left);
    expect(() => needRoom(cpu, shape, 1501, undefined, left)).toThrow(/^perDeviceTrainBatchSize: .*; a smaller batch/);
  });

  test("suggests maxSeqLength for a single sequence, and gradientCheckpointing only if it is off", () => {
    const one = { ...shape, sequences: 1, gradientCheckpointing: true };
    expect(() => needRoom(cpu, one, 1e9, undefined, left)).toThrow(/^maxSeqLength: .*; shorter sequences take less$/);
  });

  test("is skipped for a CUDA device", () => {
    needRoom({ kind: "cuda", arenaBytes: 0 }, shape, 1e15, undefined, left);
  });

  test("estimates the memory of batches from their positions", () => {
    needRoomForBatches(1, { sequences: 1, sequenceLength: 93 }, left);
    expect(() => needRoomForBatches(1, { sequences: 1, sequenceLength: 94 }, left)).toThrow(/at least [\d.]+ kB$/);
  });
});

test("a device reports the memory that a run leaves for reuse, and the machine has free memory", async () => {
  const device = openDevice({ device: "cpu" });
  await using model = await newModel();
  await pretrain(model, { data, maxSteps: 1, maxSeqLength: 64 });
  expect(device.arenaBytes).toBeGreaterThan(10_000);
  expect(availableBytes()).toBeGreaterThan(1e6);
});
