// Default checkpoints: a run with an outputDir can be resumed after a kill, even if saveSteps is not set.
import { mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { DEFAULT_SAVE_STEPS } from "../../../lib/train/options/shared-options.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";

let folder: string;
let tokenizer: Tokenizer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-save-"));
  const text = Array.from({ length: 100 }, (_, i) => `After ${i} comes ${i + 1}.`).join("\n\n");
  await writeFile(join(folder, "train.txt"), text);
  tokenizer = await Tokenizer.train([text], { vocabSize: 280 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = () =>
  createModel(
    {
      modelType: "llama",
      hiddenSize: 8,
      intermediateSize: 16,
      numHiddenLayers: 1,
      numAttentionHeads: 1,
      numKeyValueHeads: 1,
      maxPositionEmbeddings: 8,
      tieWordEmbeddings: true,
    },
    { tokenizer, seed: 3 },
  );

const run = (model: ReturnType<typeof newModel>, more: Partial<PretrainOptions>) =>
  pretrain(model, {
    data: join(folder, "train.txt"),
    perDeviceTrainBatchSize: 1,
    maxSeqLength: 8,
    maxSteps: 1200,
    lrScheduler: "constant",
    ...more,
  });

const checkpoints = async (outputDir: string) =>
  (await readdir(outputDir)).filter((name) => name.startsWith("checkpoint-")).sort();

test("a run saves every 500 steps by default, as transformers does, and resume continues from there", async () => {
  expect(DEFAULT_SAVE_STEPS).toBe(500);
  const outputDir = join(folder, "left");
  await using model = newModel();
  for await (const event of run(model, { outputDir })) {
    if (event.step === 500) expect(await checkpoints(outputDir)).toEqual([]);
    if (event.step === 501) expect(await checkpoints(outputDir)).toEqual(["checkpoint-500"]);
    if (event.step === 1001) break; // saves nothing, like a kill
  }
  // The previous default checkpoint was removed.
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-1000"]);

  await using other = newModel();
  const steps: number[] = [];
  for await (const event of run(other, { outputDir, resume: true })) steps.push(event.step);
  expect(steps[0]).toBe(1001);
  // At the end: the finished model and the checkpoint of the last step.
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-1200"]);
  expect((await stat(join(outputDir, "model.safetensors"))).isFile()).toBe(true);
});

test("later runs keep checkpoints that saveSteps requested", async () => {
  const outputDir = join(folder, "asked");
  await using model = newModel();
  await run(model, { outputDir, saveSteps: 4, maxSteps: 10 });
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-10", "checkpoint-4", "checkpoint-8"]);
  await using next = newModel();
  await run(next, { outputDir, resume: true, maxSteps: 501 });
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-10", "checkpoint-4", "checkpoint-501", "checkpoint-8"]);
});

test("saveTotalLimit applies to the default too, and saveSteps 0 saves only at the end", async () => {
  const outputDir = join(folder, "limited");
  await using model = newModel();
  await run(model, { outputDir, saveTotalLimit: 2 });
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-1000", "checkpoint-1200"]);

  await using next = newModel();
  await run(next, { outputDir, saveTotalLimit: 2, resume: "auto", maxSteps: 1201 });
  expect(await checkpoints(outputDir)).toEqual(["checkpoint-1200", "checkpoint-1201"]);

  const none = join(folder, "none");
  await using other = newModel();
  for await (const event of run(other, { outputDir: none, saveSteps: 0, maxSteps: 502 }))
    if (event.step === 502) expect(await checkpoints(none)).toEqual([]);
  expect(await checkpoints(none)).toEqual(["checkpoint-502"]);
  expect(() => run(other, { saveSteps: -1 })).toThrow(/^saveSteps: expected a whole number of at least 0, got -1$/);
});

test("resume warns of broken checkpoints that it skips, and does not start over if all are broken", async () => {
  const outputDir = join(folder, "broken");
  await using model = newModel();
  await run(model, { outputDir, saveSteps: 2, maxSteps: 4 });
  const last = join(outputDir, "checkpoint-4");
  await truncate(join(last, "optimizer.safetensors"), 100);

  const warnings: string[] = [];
  const hear = ({ message }: Error) => void warnings.push(message);
  process.on("warning", hear);
  try {
    await using other = newModel();
    const steps: number[] = [];
    for await (const { step } of run(other, { outputDir, saveSteps: 10, maxSteps: 3, resume: "auto" }))
      steps.push(step);
    expect(steps).toEqual([3]);
    await new Promise((resolve) => setImmediate(resolve));
    const bytes = /optimizer\.safetensors: expected \d+ bytes, got 100/;
    expect(warnings).toEqual([
      expect.stringMatching(/^resume: continuing from .*checkpoint-2, because a later checkpoint is broken: /),
    ]);
    expect(warnings[0]).toMatch(bytes);

    for (const step of [2, 3]) await rm(join(outputDir, `checkpoint-${step}`), { recursive: true });
    for (const resume of ["auto", true] as const) {
      const again = run(newModel(), { outputDir, maxSteps: 3, resume });
      await expect(again).rejects.toMatchObject({ code: "INVALID_FILE", message: expect.stringMatching(bytes) });
      await expect(again).rejects.toThrow(/^resume: expected a complete checkpoint in .*, got .*checkpoint-4 \(/);
    }
    await rm(last, { recursive: true });
    await run(other, { outputDir, maxSteps: 1, overwriteOutputDir: true });
    expect(warnings).toHaveLength(1);
  } finally {
    process.off("warning", hear);
  }
});
