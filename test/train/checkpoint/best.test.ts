// Restoring the best evaluation's weights, however the run is interrupted, and early stopping.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import type { PretrainOptions } from "../../../lib/train/stages/pretrain.ts";
import { failureOf, sentences } from "../../inference/helpers.ts";
import { worlds } from "../world/worlds.ts";
import { bestRun, newModel, scores, weightsOf } from "./best-run.ts";

let folder: string;
let corpus: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-best-"));
  corpus = join(folder, "corpus.txt");
  await writeFile(corpus, sentences.join("\n\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const checkpoints = async (outputDir: string) =>
  (await readdir(outputDir)).filter((name) => name.startsWith("checkpoint-")).sort();

/** Returns the weights of a bestRun after `step` steps. */
async function weightsAt(step: number, more: Partial<PretrainOptions> = {}) {
  await using base = await newModel();
  const controller = new AbortController();
  const run = bestRun(base, corpus, { ...more, signal: controller.signal });
  await (async () => {
    for await (const event of run) if ("loss" in event && event.step === step) controller.abort();
  })().catch(() => undefined);
  return weightsOf(base);
}

describe("loadBestModelAtEnd", () => {
  test("without a folder, the model ends with the weights of the best evaluation, and its card says so", async () => {
    await using base = await newModel();
    const steps: number[] = [];
    const run = bestRun(base, corpus, {
      evaluate({ step, model }) {
        expect(model).toBe(base);
        steps.push(step);
        return { score: scores[step]! };
      },
    });
    const events: TrainEvent[] = [];
    for await (const event of run) events.push(event);
    expect(steps).toEqual([2, 4, 6, 8, 10, 12]);
    expect(events.filter((e) => !("loss" in e)).map((e) => e.metrics)).toEqual(
      steps.map((step) => ({ score: scores[step] })),
    );
    expect(await run).toMatchObject({ steps: 12, bestStep: 6, evalMetrics: { score: 5 } });
    expect(await weightsOf(base)).toEqual(await weightsAt(6));
    expect(base.card?.evaluations).toEqual([expect.objectContaining({ name: "evaluate", metric: "score", value: 5 })]);
  });

  test("with a folder, the best checkpoint is kept in addition to saveTotalLimit and becomes the finished model", async () => {
    const outputDir = join(folder, "kept");
    await using base = await newModel();
    const result = await bestRun(base, corpus, { outputDir, saveSteps: 3, saveTotalLimit: 1, dtype: "f32" });
    expect(result.bestStep).toBe(6);
    expect(await checkpoints(outputDir)).toEqual(["checkpoint-12", "checkpoint-6"]);
    await using loaded = await LanguageModel.load(outputDir, { dtype: "f32" });
    const expected = await weightsAt(6);
    expect(await weightsOf(loaded)).toEqual(expected);
    expect(await weightsOf(base)).toEqual(expected);
  });

  test.each([
    ["before the best evaluation", 3],
    ["right after the best evaluation", 6],
    ["later than the best evaluation", 9],
  ])("a run stopped %s and resumed equals the uninterrupted run", async (_, stop) => {
    const outputDir = join(folder, `stopped-${stop}`);
    const controller = new AbortController();
    await using first = await newModel();
    await failureOf(async () => {
      for await (const event of bestRun(first, corpus, { outputDir, saveTotalLimit: 1, signal: controller.signal }))
        if ("loss" in event && event.step === stop) controller.abort();
    });
    await using second = await newModel();
    const result = await bestRun(second, corpus, { outputDir, saveTotalLimit: 1, resume: true });
    expect(result).toMatchObject({ steps: 12, bestStep: 6, evalMetrics: { score: 5 } });
    expect(await weightsOf(second)).toEqual(await weightsAt(6));
  });

  test.each([
    [6, [6, 8, 10, 12]],
    [12, [12]],
  ])("a run stopped during the evaluation of step %i repeats the evaluation when resumed", async (stop, expected) => {
    const outputDir = join(folder, `within-${stop}`);
    const controller = new AbortController();
    await using first = await newModel();
    const failure = await failureOf(() =>
      bestRun(first, corpus, {
        outputDir,
        signal: controller.signal,
        evaluate({ step, signal }) {
          if (step === stop) controller.abort();
          signal?.throwIfAborted();
          return { score: scores[step]! };
        },
      }),
    );
    expect(failure.message).toMatch(/aborted/);
    await using second = await newModel();
    const evaluated: number[] = [];
    for await (const event of bestRun(second, corpus, { outputDir, resume: true }))
      if (!("loss" in event)) evaluated.push(event.step);
    expect(evaluated).toEqual(expected);
    expect(await weightsOf(second)).toEqual(await weightsAt(6));
  });

  test.each([9, 12])("a run resumed from another folder after step %i copies the best checkpoint", async (stop) => {
    const [from, to] = [join(folder, `from-${stop}`), join(folder, `to-${stop}`)];
    await using first = await newModel();
    await bestRun(first, corpus, { outputDir: from, saveSteps: 3 });
    const source = join(from, `checkpoint-${stop}`);
    await using second = await newModel();
    const given = { outputDir: to, saveTotalLimit: 1 };
    const result = await bestRun(second, corpus, { ...given, resume: source });
    expect(result).toMatchObject({ steps: 12, bestStep: 6, evalMetrics: { score: 5 }, path: to });
    expect(await weightsOf(second)).toEqual(await weightsAt(6));
    expect(await checkpoints(to)).toEqual(["checkpoint-12", "checkpoint-6"]);
    // The copied files are all that a further run needs.
    await rm(from, { recursive: true });
    await using third = await newModel();
    expect(await bestRun(third, corpus, { ...given, resume: true })).toMatchObject({ steps: 12, bestStep: 6 });
    expect(await weightsOf(third)).toEqual(await weightsAt(6));
  });

  test.each([
    ["in the same folder", true],
    ["in another folder", false],
  ])(
    "a run resumed %s without its best checkpoint warns and ends with the best of the later evaluations",
    async (name, here) => {
      const outputDir = join(folder, `best-gone-${here}`);
      const controller = new AbortController();
      await using first = await newModel();
      await failureOf(async () => {
        for await (const event of bestRun(first, corpus, { outputDir, signal: controller.signal }))
          if ("loss" in event && event.step === 9) controller.abort();
      });
      await rm(join(outputDir, "checkpoint-6"), { recursive: true });
      const warning = new Promise<Error>((done) => process.once("warning", done));
      await using second = await newModel();
      const more = here
        ? { outputDir, resume: true }
        : { outputDir: join(folder, `gone ${name}`), resume: join(outputDir, "checkpoint-9") };
      expect(await bestRun(second, corpus, more)).toMatchObject({ steps: 12, bestStep: 10, path: more.outputDir });
      expect((await warning).message).toMatch(/loadBestModelAtEnd: checkpoint-6/);
      expect(await weightsOf(second)).toEqual(await weightsAt(10));
    },
  );

  test("a run killed at five moments and resumed equals the uninterrupted run", async () => {
    const outputDir = join(folder, "killed");
    for (const mark of ["step 3", "evaluate 6", "evaluated 6", "step 9", "evaluate 12"])
      expect(await program(outputDir, mark)).toBe("SIGKILL");
    expect(await program(outputDir)).toBe(0);
    await using loaded = await LanguageModel.load(outputDir, { dtype: "f32" });
    expect(await weightsOf(loaded)).toEqual(await weightsAt(6));
    expect(await checkpoints(outputDir)).toEqual(["checkpoint-12", "checkpoint-6"]);
    const state = JSON.parse(await readFile(join(outputDir, "checkpoint-12", "trainer_state.json"), "utf8"));
    expect(state.best).toMatchObject({ value: 5, held: { step: 6 } });
  });

  test("selects the lowest held-out loss by default", async () => {
    await using base = await newModel();
    const held = new Map<number, number>();
    const options: Partial<PretrainOptions> = {
      evalFraction: 0.1,
      evalBatches: 4,
      learningRate: 0.05,
      lrScheduler: ({ step }) => (step <= 6 ? 1 : 20), // so high after step 6 that the loss grows
      evaluate: undefined,
      metricForBestModel: undefined,
    };
    const run = bestRun(base, corpus, options);
    for await (const event of run) if (!("loss" in event)) held.set(event.step, event.evalLoss!);
    const { bestStep, evalLoss } = await run;
    const lowest = Math.min(...held.values());
    expect(evalLoss).toBe(lowest);
    expect(held.get(bestStep!)).toBe(lowest);
    expect(bestStep).toBe(6);
    expect(await weightsOf(base)).toEqual(await weightsAt(6, options));
  });

  test("greaterIsBetter sets the order, and NaN is never the best", async () => {
    await using base = await newModel();
    expect(await bestRun(base, corpus, { greaterIsBetter: false })).toMatchObject({ bestStep: 2 });
    await using other = await newModel();
    const evaluate = ({ step }: { step: number }) => ({ score: step < 8 ? Number.NaN : step });
    expect(await bestRun(other, corpus, { evaluate })).toMatchObject({ bestStep: 12 });
  });

  test.each([
    { sign: 1, size: 1 },
    { sign: -1, size: 1 },
    { sign: 1, size: 2 },
    { sign: -1, size: 2 },
  ])(
    "non-finite metrics are never the best on any rank, with either greaterIsBetter (ranks: $size, sign of the scores: $sign)",
    async ({ sign, size }) => {
      const figures: Record<number, number> = {
        2: Number.NaN,
        4: sign,
        6: Number.POSITIVE_INFINITY * sign,
        8: 2 * sign,
        10: Number.NaN,
        12: Number.NEGATIVE_INFINITY * sign,
      };
      const ranks = worlds(size).map(async (world) => {
        await using base = await newModel();
        const seen: number[] = [];
        const run = bestRun(base, corpus, {
          world,
          greaterIsBetter: sign > 0,
          earlyStoppingPatience: 3,
          evaluate: ({ step }) => ({ score: figures[step]! }),
        });
        for await (const event of run) if (!("loss" in event)) seen.push(event.metrics!.score!);
        return { ...(await run), seen, weights: await weightsOf(base) };
      });
      const results = await Promise.all(ranks);
      for (const result of results) {
        expect(result.seen).toEqual(Object.values(figures));
        expect(result).toMatchObject({ steps: 12, bestStep: 8, evalMetrics: { score: 2 * sign } });
        expect(result.weights).toEqual(results[0]!.weights);
      }
    },
  );

  test("all ranks follow the evaluation of rank 0", async () => {
    const asked: number[] = [];
    const ranks = worlds(2).map(async (world) => {
      await using base = await newModel();
      const result = await bestRun(base, corpus, {
        world,
        evaluate({ step }) {
          asked.push(world.rank);
          return { score: scores[step]! };
        },
      });
      return { result, weights: await weightsOf(base) };
    });
    const [first, second] = await Promise.all(ranks);
    expect(new Set(asked)).toEqual(new Set([0]));
    expect([first!.result.bestStep, second!.result.bestStep]).toEqual([6, 6]);
    expect(first!.weights).toEqual(second!.weights);
  });

  test("all ranks follow the held-out loss of rank 0, even if theirs differ", async () => {
    // Ranks on different processors measure losses that differ by rounding. Here they differ because the text does.
    const other = join(folder, "other.txt");
    await writeFile(other, "Quite another text, 12345 67890.\n\n".repeat(40));
    const ranks = worlds(2).map(async (world) => {
      await using base = await newModel();
      const losses: number[] = [];
      const run = bestRun(base, corpus, {
        world,
        evalData: world.rank === 0 ? corpus : other,
        evalBatches: 1,
        evaluate: undefined,
        metricForBestModel: undefined,
        learningRate: 0.05,
        earlyStoppingPatience: 2,
      });
      for await (const event of run) if (!("loss" in event)) losses.push(event.evalLoss!);
      const { bestStep, steps } = await run;
      return { bestStep, steps, losses, weights: await weightsOf(base) };
    });
    const [first, second] = await Promise.all(ranks);
    expect(second).toEqual(first);
  });
});

test("a NaN in the last evaluation is left out of the finished model's card", async () => {
  const outputDir = join(folder, "no-number");
  await using base = await newModel();
  const options = { maxSteps: 2, outputDir, loadBestModelAtEnd: false };
  const evaluate = () => ({ score: Number.NaN, ratio: Number.POSITIVE_INFINITY, known: 3 });
  const { evalMetrics } = await bestRun(base, corpus, { ...options, evaluate });
  expect(evalMetrics).toEqual({ score: Number.NaN, ratio: Number.POSITIVE_INFINITY, known: 3 });
  const written = JSON.parse(await readFile(join(outputDir, "model_card.json"), "utf8"));
  expect(written.evaluations).toEqual([{ name: "evaluate", metric: "known", value: 3 }]);
  expect(base.card!.evaluations).toEqual(written.evaluations);
  await using loaded = await LanguageModel.load(outputDir);
  expect(loaded.card!.evaluations).toEqual(written.evaluations);
});

describe("early stopping", () => {
  test("stops after `patience` evaluations without improvement, and a resumed run stays stopped", async () => {
    const outputDir = join(folder, "early");
    await using base = await newModel();
    const options = { outputDir, earlyStoppingPatience: 2, loadBestModelAtEnd: true } as const;
    expect(await bestRun(base, corpus, options)).toMatchObject({ steps: 10, bestStep: 6 });
    await using again = await newModel();
    expect(await bestRun(again, corpus, { ...options, resume: true })).toMatchObject({ steps: 10, bestStep: 6 });
    expect(await weightsOf(again)).toEqual(await weightsOf(base));
  });

  test("a metric that is never finite is no improvement, and gives one warning; a resumed run stays stopped", async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const said: string[] = [];
      const outputDir = join(folder, `early-${value}`);
      const options = {
        ...{ outputDir, earlyStoppingPatience: 3, loadBestModelAtEnd: true },
        evaluate: () => ({ score: value }),
        onWarning: (message: string) => void said.push(message),
      };
      await using base = await newModel();
      const result = await bestRun(base, corpus, options);
      expect(result).toMatchObject({ steps: 6, evalMetrics: { score: value } });
      expect(result.bestStep).toBeUndefined();
      expect(said).toEqual([
        `metricForBestModel: expected a finite score at step 2, got ${value}; such an evaluation is no improvement`,
      ]);
      await using again = await newModel();
      expect(await bestRun(again, corpus, { ...options, resume: true })).toMatchObject({ steps: 6 });
      expect(await weightsOf(again)).toEqual(await weightsOf(base));
    }
  });

  test("without loadBestModelAtEnd it keeps the last weights, and the threshold defines an improvement", async () => {
    await using base = await newModel();
    const options = { earlyStoppingPatience: 1, loadBestModelAtEnd: false, earlyStoppingThreshold: 2 };
    const result = await bestRun(base, corpus, options);
    expect(result.steps).toBe(4); // 3 is not better than 1 by more than 2
    expect(result.bestStep).toBeUndefined();
    expect(await weightsOf(base)).toEqual(await weightsAt(4));
  });
});

describe("invalid settings", () => {
  const failures: Record<string, [Parameters<typeof bestRun>[2], RegExp]> = {
    "no evaluation": [{ evaluate: undefined }, /loadBestModelAtEnd: expected evalData or evaluate/],
    "no metric and no held-out data": [{ metricForBestModel: undefined }, /metricForBestModel: expected the name/],
    "early stopping without a metric and held-out data": [
      { metricForBestModel: undefined, loadBestModelAtEnd: false, earlyStoppingPatience: 1 },
      /metricForBestModel: expected the name/,
    ],
    "no evalSteps": [{ evalSteps: undefined }, /loadBestModelAtEnd: expected evalSteps/],
    "an unknown metric": [{ metricForBestModel: "scores" }, /metricForBestModel: expected one of score, got scores/],
    "a metric that is not a number": [
      { evaluate: () => ({ score: "high" }) as never },
      /evaluate: expected an object of numbers, got .*high/,
    ],
    "metrics that are not an object": [
      { evaluate: () => 5 as never },
      /evaluate: expected an object of numbers, got 5/,
    ],
    "an evaluate that is not a function": [{ evaluate: "score" as never }, /evaluate: expected a function/],
    "patience of 0": [{ earlyStoppingPatience: 0 }, /earlyStoppingPatience: expected a whole number of at least 1/],
  };
  test.each(Object.entries(failures))("are rejected with the option's name: %s", async (name, [options, message]) => {
    await using base = await newModel();
    let steps = 0;
    const failure = await failureOf(async () => {
      for await (const event of bestRun(base, corpus, options)) steps = event.step;
    });
    if (options?.metricForBestModel === undefined && "metricForBestModel" in options!) expect(steps, name).toBe(0);
    expect(failure).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });
  });

  test("a missing best checkpoint is reported", async () => {
    const outputDir = join(folder, "gone");
    await using base = await newModel();
    const failure = await failureOf(async () => {
      for await (const event of bestRun(base, corpus, { outputDir }))
        if (event.step === 11) await rm(join(outputDir, "checkpoint-6"), { recursive: true });
    });
    expect(failure).toMatchObject({ code: "NOT_FOUND", message: expect.stringMatching(/best.*checkpoint-6/) });
  });
});

/** Runs best-run.ts to its end, or kills it as soon as it prints `mark`. @returns the signal, or the exit code */
function program(outputDir: string, mark?: string): Promise<NodeJS.Signals | number | null> {
  const jiti = fileURLToPath(new URL("../../../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
  const script = fileURLToPath(new URL("best-run.ts", import.meta.url));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [jiti, script, corpus, outputDir], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk;
      if (mark !== undefined && text.includes(`${mark}\n`)) child.kill("SIGKILL");
    });
    child.on("exit", (code, signal) => resolve(signal ?? code));
  });
}
