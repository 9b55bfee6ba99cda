// Errors that end a training run state their cause, and completed steps are not lost.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { FileSink, ioError } from "../../../lib/io/atomic-files.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { weightsOf } from "../checkpoint/best-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-failures-"));
  await writeFile(join(folder, "train.jsonl"), sentences.map((text) => JSON.stringify({ text })).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => void vi.restoreAllMocks());

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.05 });
const options = (more: Partial<PretrainOptions> = {}): PretrainOptions => ({
  data: join(folder, "train.jsonl"),
  maxSteps: 8,
  perDeviceTrainBatchSize: 2,
  maxSeqLength: 24,
  learningRate: 3e-3,
  lrScheduler: "constant",
  ...more,
});

async function run(base: LanguageModel, given: PretrainOptions) {
  const losses: number[] = [];
  let failure: { code: string; message: string } | undefined;
  try {
    for await (const event of pretrain(base, given)) if ("loss" in event) losses.push(event.loss);
  } catch (error) {
    failure = error as { code: string; message: string };
  }
  return { losses, failure };
}
const checkpoints = async (outputDir: string) =>
  (await readdir(outputDir)).filter((name) => name.includes("checkpoint")).sort();

async function uninterruptedLosses(more: Partial<PretrainOptions> = {}): Promise<number[]> {
  await using base = await newModel();
  return (await run(base, options(more))).losses;
}

describe("a run that ends with an error", () => {
  test("fails with IO if the disk is full, keeps the last checkpoint, and resumes from it bit for bit", async () => {
    const outputDir = join(folder, "full-disk");
    await using base = await newModel();
    // The first checkpoint is written. After step 3, too little room is left for a second one.
    let room = Number.POSITIVE_INFINITY;
    const write = FileSink.prototype.write;
    vi.spyOn(FileSink.prototype, "write").mockImplementation(async function (this: FileSink, bytes) {
      room -= bytes.length;
      if (room < 0) throw ioError(Object.assign(new Error("write"), { code: "ENOSPC" }), this.path, "written");
      await write.call(this, bytes);
    });
    const losses: number[] = [];
    const full = async () => {
      for await (const event of pretrain(base, options({ outputDir, saveSteps: 2 }))) {
        if (!("loss" in event)) continue;
        losses.push(event.loss);
        if (event.step === 3) room = 100_000;
      }
    };
    await expect(full()).rejects.toMatchObject({
      code: "IO",
      message: expect.stringMatching(/full-disk.*no space left on the disk/),
    });
    expect(losses).toHaveLength(4);
    expect(await checkpoints(outputDir)).toEqual(["checkpoint-2"]); // and no partial checkpoint
    vi.restoreAllMocks();
    await using next = await newModel();
    const after = await run(next, options({ outputDir, saveSteps: 2, resume: "auto" }));
    expect(after.failure).toBeUndefined();
    expect([...losses.slice(0, 2), ...after.losses]).toEqual(await uninterruptedLosses());
  });

  test("reports the file and line of a broken row that it reads after some steps, and saves those steps", async () => {
    const outputDir = join(folder, "broken-row");
    const data = join(folder, "broken.jsonl");
    const rows = sentences.map((text) => JSON.stringify({ text }));
    await writeFile(data, [...rows.slice(0, 150), '{"txet": "x"}', ...rows.slice(150)].join("\n"));
    await using base = await newModel();
    const { losses, failure } = await run(base, options({ data, outputDir, maxSteps: 2000, seed: 1 }));
    expect(failure).toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/broken\.jsonl:151: .*the text field "text", got an object with the fields txet/),
    });
    expect(losses.length).toBeGreaterThan(2);
    expect(await checkpoints(outputDir)).toEqual([`checkpoint-${losses.length}`]);
  });

  test("reports the step of a NaN loss, does not save non-finite weights, and keeps older checkpoints", async () => {
    const outputDir = join(folder, "nan");
    await using base = await newModel();
    const given = options({ outputDir, saveSteps: 2, saveTotalLimit: 1 });
    const name = "model.norm.weight";
    const losses: number[] = [];
    const trainWithNanWeights = async () => {
      for await (const event of pretrain(base, given)) {
        if (!("loss" in event)) continue;
        losses.push(event.loss);
        // Simulates a step that made the weights non-finite.
        if (event.step === 5) await base.model.weight(name).write(new Float32Array(32).fill(Number.NaN));
      }
    };
    await expect(trainWithNanWeights()).rejects.toMatchObject({
      code: "NUMERICAL",
      message: expect.stringMatching(/step 6: expected a finite loss, got NaN/),
    });
    expect(await checkpoints(outputDir)).toEqual(["checkpoint-4"]); // not the broken weights of step 5
    await using next = await newModel();
    const after = await run(next, { ...given, resume: true });
    expect([...losses.slice(0, 4), ...after.losses]).toEqual(await uninterruptedLosses());
    // With finite weights, the last step is saved in addition to the older checkpoint.
    const overflow = join(folder, "overflow");
    await using other = await newModel();
    const trainWithHugeWeights = async () => {
      for await (const event of pretrain(other, { ...given, outputDir: overflow }))
        if ("loss" in event && event.step === 5)
          await other.model.weight("lm_head.weight").write(new Float32Array(320 * 32).fill(3e38));
    };
    await expect(trainWithHugeWeights()).rejects.toMatchObject({ code: "NUMERICAL" });
    expect(await checkpoints(overflow)).toEqual(["checkpoint-4", "checkpoint-5"]);
  });

  test("saves the weights from before a non-finite gradient, or skips the step and keeps the weights", async () => {
    const outputDir = join(folder, "nan-gradient");
    await using base = await newModel();
    // After the first update, values are so large that the second gradient overflows.
    const given = options({ outputDir, saveSteps: 1, saveTotalLimit: 1, learningRate: 1e25 });
    const { losses, failure } = await run(base, given);
    expect(losses).toHaveLength(1);
    expect(failure).toMatchObject({
      code: "NUMERICAL",
      message: expect.stringMatching(/step 2: expected a finite gradient norm, got (NaN|Infinity) \(loss \d/),
    });
    expect(await checkpoints(outputDir)).toEqual(["checkpoint-1"]);
    for (const name of base.model.languageWeightNames)
      expect((await base.model.weight(name).toFloat32()).every(Number.isFinite), name).toBe(true);
    // With skipNonFinite, such a step is skipped, and leaves the weights as they are.
    const [before, skipped] = [await weightsOf(base), []] as [Map<string, Float32Array>, (number | undefined)[]];
    for await (const event of pretrain(base, { ...given, resume: true, maxSteps: 3, skipNonFinite: true }))
      if ("loss" in event) skipped.push(event.skippedSteps);
    expect(skipped).toEqual([1, 2]);
    expect(await weightsOf(base)).toEqual(before);
  });
});

test("a skipped step is excluded from the mean of several steps", async () => {
  const means = async (loggingSteps: number) => {
    await using base = await newModel();
    const norm = base.model.weight("model.norm.weight");
    const whole = await norm.toFloat32();
    // The weights are broken between the first step and the second, then restored.
    const evaluate = async ({ step }: { step: number }) => {
      await norm.write(step === 1 ? new Float32Array(whole.length).fill(Number.NaN) : whole);
      return {};
    };
    const given = { maxSteps: 4, learningRate: 1e-6, evaluate, evalSteps: 1, skipNonFinite: true, loggingSteps };
    const { losses, failure } = await run(base, options(given));
    expect(failure).toBeUndefined();
    return losses;
  };
  const single = await means(1);
  expect(single.map(Number.isFinite)).toEqual([true, false, true, true]);
  const [mean] = await means(4);
  expect(mean).toBeCloseTo((single[0]! + single[2]! + single[3]!) / 3, 10);
});

describe("errors that can be detected before a run", () => {
  test.each([
    ["an outputDir that is a file", { outputDir: "train.jsonl" }, /train\.jsonl: expected a folder, got a file/],
    ["an invalid date", { trainingCutoffDate: "yesterday" }, /trainingCutoffDate: expected a date/],
    ["held-out data without tokens", { evalData: "short.txt" }, /evalData: expected at least one token to predict/],
  ])("are reported before the first step: %s", async (_, given, message) => {
    await writeFile(join(folder, "short.txt"), "");
    const resolvedOptions = Object.entries(given).map(([name, value]) => [
      name,
      name === "trainingCutoffDate" ? value : join(folder, value),
    ]);
    await using base = await newModel();
    const { losses, failure } = await run(base, options(Object.fromEntries(resolvedOptions)));
    expect(failure?.message).toMatch(message);
    expect(losses).toEqual([]);
  });

  test("are reported before the first step: an evalFraction without documents", async () => {
    await using base = await newModel();
    const { losses, failure } = await run(base, options({ evalFraction: 1e-9 }));
    expect(failure?.message).toBe("evalFraction: expected at least one token to predict, got none");
    expect(losses).toEqual([]);
  });

  test("include options and models of the wrong type", async () => {
    const call = pretrain as unknown as (...given: unknown[]) => PromiseLike<unknown>;
    await using base = await newModel();
    for (const none of [undefined, null, 3, []]) expect(() => call(base, none)).toThrow(/pretrain: expected an object/);
    await expect(Promise.resolve(call(undefined, options()))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "pretrain: expected a model, got undefined",
    });
  });
});

describe("two concurrent runs", () => {
  test("the second of two concurrent runs of the same weights is rejected, and may run after the first", async () => {
    await using base = await newModel();
    let second: unknown;
    for await (const { step } of pretrain(base, options()))
      if (step === 2) second = await run(base, options()).then(({ failure }) => failure);
    expect(second).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/no other run trains/) });
    expect((await run(base, options({ maxSteps: 1 }))).losses).toHaveLength(1);
  });

  test.runIf(process.platform === "linux")(
    "the second of two concurrent runs into one folder is rejected",
    async () => {
      const outputDir = join(folder, "shared");
      await using one = await newModel();
      await using other = await newModel();
      let second: unknown;
      for await (const { step } of pretrain(one, options({ outputDir })))
        if (step === 2) second = await run(other, options({ outputDir })).then(({ failure }) => failure);
      expect(second).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/no other run writes/) });
      expect((await run(other, options({ outputDir, overwriteOutputDir: true }))).failure).toBeUndefined();
    },
  );
});

test("a run rejects with ABORTED if the loop over its events is left early", async () => {
  await using base = await newModel();
  const left = pretrain(base, options());
  for await (const _ of left) break;
  await expect(Promise.resolve(left)).rejects.toMatchObject({ code: "ABORTED" });
});

test("disposing the model ends its run", async () => {
  const base = await newModel();
  let steps = 0;
  const training = async () => {
    for await (const _ of pretrain(base, options())) if (++steps === 2) base.model.dispose();
  };
  await expect(training()).rejects.toMatchObject({ code: "DISPOSED" });
  expect(steps).toBeLessThan(4);
});
