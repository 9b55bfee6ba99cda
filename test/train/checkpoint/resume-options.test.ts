// A resumed run must keep the options that affect its losses, unless a change is allowed.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-resume-options-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() });
const data = sentences.map((text) => ({ text }));
let count = 0;

/** Runs two steps, then resumes with other options for a third. */
async function resumed(second: Partial<SftOptions>, first: Partial<SftOptions> = {}) {
  const outputDir = join(folder, `run-${count++}`);
  const shared = { data, perDeviceTrainBatchSize: 2, learningRate: 1e-3, outputDir };
  await using began = await newModel();
  await sft(began, { ...shared, maxSteps: 2, ...first });
  await using other = await newModel();
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const run = sft(other, { ...shared, maxSteps: 3, resume: true, onWarning, ...first, ...second });
  const rates: number[] = [];
  for await (const event of run) if ("loss" in event) rates.push(event.learningRate);
  return { result: await run, rates, warnings, outputDir };
}

const refusals: [string, Partial<SftOptions>, RegExp][] = [
  [
    "learningRate",
    { learningRate: 2e-3 },
    /^learningRate: expected 0\.001 as in the resumed run, got 0\.002; use allow/,
  ],
  ["fp8", { fp8: true }, /^fp8: expected false as in the resumed run, got true;/],
  ["weightDecay", { weightDecay: 0.1 }, /^weightDecay: expected 0 as in the resumed run, got 0\.1;/],
  ["warmupSteps", { warmupSteps: 2 }, /^warmupSteps: expected none as in the resumed run, got 2;/],
  ["lrScheduler", { lrScheduler: "linear" }, /^lrScheduler: expected "cosine" as in the resumed run, got "linear";/],
  [
    "lrScheduler to a function",
    { lrScheduler: () => 1 },
    /^lrScheduler: expected "cosine" as in the resumed run, got "a function";/,
  ],
  ["neftuneNoiseAlpha", { neftuneNoiseAlpha: 5 }, /^neftuneNoiseAlpha: expected 0 as in the resumed run, got 5;/],
  [
    "gradientAccumulationSteps",
    { gradientAccumulationSteps: 2 },
    /^gradientAccumulationSteps: expected 1 as in the resumed run, got 2;/,
  ],
  [
    "perDeviceTrainBatchSize",
    { perDeviceTrainBatchSize: 4 },
    /^perDeviceTrainBatchSize: expected 2 as in the resumed run, got 4;/,
  ],
  [
    "adamBeta2 and maxGradNorm",
    { adamBeta2: 0.99, maxGradNorm: 0.5 },
    /^(adamBeta2|maxGradNorm): .* \(changed too: (maxGradNorm|adamBeta2)\);/,
  ],
];
test.each(refusals)("rejects a change of %s", async (_name, options, message) => {
  await expect(resumed(options)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringMatching(message),
  });
});

test("an allowed change is used from the next step, reported, and stored in the next checkpoint", async () => {
  const { result, rates, warnings, outputDir } = await resumed(
    { learningRate: 2e-3, allowChangedOptions: true },
    { lrScheduler: "constant" },
  );
  expect(result.steps).toBe(3);
  expect(rates).toEqual([2e-3]);
  expect(warnings).toEqual(["resume: continuing with changed options: learningRate 0.002, before 0.001"]);
  // The next run is compared with the new options.
  const state = JSON.parse(await readFile(join(outputDir, "checkpoint-3", "trainer_state.json"), "utf8"));
  expect(state.options).toMatchObject({ learningRate: 2e-3, weightDecay: 0, warmupSteps: null });
});

test("the batch size may change if that is allowed, and longer held-out rows may be added", async () => {
  const evalData = [{ text: sentences.slice(0, 3).join(" ") }];
  const { result, warnings } = await resumed({ evalData, perDeviceTrainBatchSize: 4, allowChangedOptions: true });
  expect(result.steps).toBe(3);
  expect(result.evalLoss).toBeGreaterThan(0);
  expect(warnings).toEqual(["resume: continuing with changed options: perDeviceTrainBatchSize 4, before 2"]);
});

test("a longer run, another dtype, and other evaluations, logs and files do not count as changes", async () => {
  const free = {
    evalFraction: 0.2,
    evalSteps: 1,
    loggingSteps: 2,
    saveDtype: "bf16",
    name: "b",
    dtype: "bf16",
  } as const;
  const { evalFraction, ...second } = free;
  const { result, warnings } = await resumed({ ...second, maxSteps: 5 }, { evalFraction });
  expect(result.steps).toBe(5);
  expect(warnings).toEqual([]);
});

test("resumes a checkpoint without stored options", async () => {
  const { outputDir } = await resumed({});
  const resume = join(outputDir, "checkpoint-3");
  const file = join(resume, "trainer_state.json");
  const { options: _, ...older } = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify(older));
  await rm(join(resume, "checkpoint.json")); // its digests would detect the change first
  await using model = await newModel();
  const shared = { data, perDeviceTrainBatchSize: 2, learningRate: 5e-3, maxSteps: 4, outputDir };
  await expect(sft(model, { ...shared, resume })).resolves.toMatchObject({ steps: 4 });
});

test("rejects a change of a stage's own option or of its replay", async () => {
  const pairs = [{ prompt: "The cat", chosen: " is red", rejected: " is not" }];
  const text = join(folder, "text.txt");
  await writeFile(text, sentences.join("\n\n"));
  const shared = { perDeviceTrainBatchSize: 1, outputDir: join(folder, "dpo") };
  const run = async (more: object) => {
    await using model = await newModel();
    return await dpo(model, { ...shared, data: pairs, maxSteps: 1, replay: { data: text, weight: 0.5 }, ...more });
  };
  await run({});
  const again = { maxSteps: 2, resume: true };
  await expect(run({ ...again, beta: 0.2 })).rejects.toThrow(/^beta: expected 0\.1 as in the resumed run, got 0\.2;/);
  await expect(run({ ...again, replay: { data: text, weight: 1 } })).rejects.toThrow(/^replay: expected .*0\.5/);
  await expect(run(again)).resolves.toMatchObject({ steps: 2 });
});

test("a changed seed of pre-training is reported as other data", async () => {
  const file = join(folder, "corpus.txt");
  await writeFile(file, sentences.join("\n\n"));
  const shared = { data: file, maxSeqLength: 16, perDeviceTrainBatchSize: 2, outputDir: join(folder, "pretrain") };
  await using model = await newModel();
  await pretrain(model, { ...shared, maxSteps: 1 });
  await using other = await newModel();
  await expect(pretrain(other, { ...shared, maxSteps: 2, resume: true, seed: 3 })).rejects.toThrow(
    /^seed: the position belongs to other data/,
  );
});
