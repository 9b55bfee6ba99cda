// Resume reports a checkpoint with a flipped bit, and continues from the newest intact checkpoint with the same losses.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";

let folder: string;
let tokenizer: Tokenizer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-damaged-"));
  const text = Array.from({ length: 100 }, (_, i) => `After ${i} comes ${i + 1}.`).join("\n\n");
  await writeFile(join(folder, "train.txt"), text);
  tokenizer = await Tokenizer.train([text], { vocabSize: 280 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SIZES = { hiddenSize: 8, intermediateSize: 16, numHiddenLayers: 1, numAttentionHeads: 1, numKeyValueHeads: 1 };

async function train(more: Partial<PretrainOptions> & { maxSteps: number }) {
  await using model = createModel(
    { modelType: "llama", ...SIZES, maxPositionEmbeddings: 8, tieWordEmbeddings: true },
    { tokenizer, seed: 3 },
  );
  const warnings: string[] = [];
  const losses = new Map<number, number>();
  const options = {
    data: join(folder, "train.txt"),
    perDeviceTrainBatchSize: 1,
    maxSeqLength: 8,
    saveSteps: 2,
    ...more,
  };
  for await (const event of pretrain(model, { ...options, onWarning: (message) => void warnings.push(message) }))
    if ("loss" in event) losses.set(event.step, event.loss);
  return { warnings, losses };
}

async function flip(path: string, byte: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[byte]! ^= 4;
  await writeFile(path, bytes);
}

test("resume skips a checkpoint with a flipped bit in any file, and rejects it if the resume option names it", async () => {
  const outputDir = join(folder, "run");
  const whole = await train({ outputDir, maxSteps: 6 });
  for (const [name, byte] of [
    ["model.safetensors", 2000],
    ["optimizer.safetensors", 4000],
    ["trainer_state.json", 60],
    ["config.json", 20],
  ] as const) {
    const last = join(outputDir, "checkpoint-6");
    const path = join(last, name);
    await flip(path, byte);
    const digests = `${name}: expected digest crc32c:[0-9a-f]{8}, got crc32c:[0-9a-f]{8}`;
    await expect(train({ outputDir, maxSteps: 6, resume: last })).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(new RegExp(`checkpoint-6/${digests}$`)),
    });
    const again = await train({ outputDir, maxSteps: 6, resume: "auto" });
    expect(again.warnings).toEqual([
      expect.stringMatching(
        new RegExp(
          `^resume: continuing from .*checkpoint-4, because a later checkpoint is broken: .*checkpoint-6 \\(${digests}\\)$`,
        ),
      ),
    ]);
    // The damaged checkpoint was replaced by an intact one.
    expect([...again.losses]).toEqual([...whole.losses].slice(4));
    expect((await train({ outputDir, maxSteps: 6, resume: "auto" })).warnings).toEqual([]);
  }
  for (const step of [2, 4, 6]) await flip(join(outputDir, `checkpoint-${step}`, "optimizer.safetensors"), 4000 + step);
  await expect(train({ outputDir, maxSteps: 6, resume: "auto" })).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: expect.stringMatching(
      /^resume: expected a complete checkpoint in .*, got (.*checkpoint-\d \(optimizer\.safetensors: expected digest .*){3}/,
    ),
  });
});

test("the best evaluation's weights are checked against their digest, at the end and on resume", async () => {
  const outputDir = join(folder, "best");
  let evaluations = 0;
  const evaluate = () => ({ score: -evaluations++ }); // the first is the best
  const options = { outputDir, evalSteps: 2, evaluate, loadBestModelAtEnd: true, metricForBestModel: "score" };
  const best = join(outputDir, "checkpoint-2", "model.safetensors");
  await train({ ...options, maxSteps: 4 });
  await flip(best, 2000);
  const { warnings } = await train({ ...options, maxSteps: 6, resume: "auto" });
  expect(warnings).toEqual([
    expect.stringMatching(
      /^loadBestModelAtEnd: checkpoint-2, the best evaluation's, is damaged \(model\.safetensors: expected digest .*\); the best of the following evaluations is kept instead$/,
    ),
  ]);
  evaluations = 0;
  const damaging = (at: { step: number }) => (at.step === 4 ? flip(best, 2000).then(evaluate) : evaluate());
  const late = train({ ...options, overwriteOutputDir: true, evaluate: damaging, maxSteps: 4 });
  await expect(late).rejects.toMatchObject({
    code: "INVALID_FILE",
    message: expect.stringMatching(/checkpoint-2\/model\.safetensors: expected digest/),
  });
});
