// Skipped steps and loss spikes are reported and counted, and end the run if there are too many.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HeddleError } from "../../../lib/core/errors.ts";
import { LossSpikeGuard, type LossSpikeGuardOptions } from "../../../lib/train/loop/loss-spike-guard.ts";
import type { StepEvent } from "../../../lib/train/loop/trainer.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-watch-"));
  await writeFile(join(folder, "train.jsonl"), sentences.map((text) => JSON.stringify({ text })).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.05 });
type Model = Awaited<ReturnType<typeof newModel>>;

/** Breaks a model's weights between steps and restores them, so that the loss after each step for which `bad` is true is NaN. */
async function broken(base: Model, bad: (step: number) => boolean): Promise<Partial<PretrainOptions>> {
  const norm = base.model.weight("model.norm.weight");
  const whole = await norm.toFloat32();
  const evaluate = async ({ step }: { step: number }) => {
    await norm.write(bad(step) ? new Float32Array(whole.length).fill(Number.NaN) : whole);
    return {};
  };
  return { evaluate, evalSteps: 1, skipNonFinite: true };
}

async function run(base: Model, more: Partial<PretrainOptions>) {
  const warnings: string[] = [];
  const events: StepEvent[] = [];
  const running = pretrain(base, {
    data: join(folder, "train.jsonl"),
    maxSteps: 8,
    perDeviceTrainBatchSize: 2,
    maxSeqLength: 24,
    learningRate: 1e-3,
    onWarning: (message) => void warnings.push(message),
    ...more,
  });
  let failure: HeddleError | undefined;
  try {
    for await (const event of running) if ("loss" in event) events.push(event);
  } catch (error) {
    failure = error as HeddleError;
  }
  return { events, warnings, failure, result: failure ? undefined : await running };
}

describe("skipped steps", () => {
  test("are counted in events and the result, even between two logged steps, and a warning reports the first one", async () => {
    await using base = await newModel();
    const bad = [1, 2, 5];
    const { events, warnings, result } = await run(base, {
      ...(await broken(base, (step) => bad.includes(step))),
      loggingSteps: 4,
    });
    expect(events.map(({ step, skippedSteps, lossSpikes }) => [step, skippedSteps, lossSpikes])).toEqual([
      [4, 2, 0],
      [8, 3, 0],
    ]);
    expect(events.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    expect(result).toMatchObject({ skippedSteps: 3, lossSpikes: 0 });
    expect(warnings).toEqual([
      "step 2: expected a finite loss, got NaN; skipped (skipNonFinite); further ones are counted in skippedSteps",
    ]);
  });

  test("end the run after too many in a row, including those before a resume", async () => {
    const message =
      "step 6: expected fewer than 4 skipped steps in a row (maxConsecutiveSkips), got 4, the last for a loss of NaN; a lower learningRate or maxGradNorm may help";
    const outputDir = join(folder, "in-a-row");
    for (const saveSteps of [0, 1]) {
      await using base = await newModel();
      const given = {
        ...(await broken(base, (step) => step > 1)),
        maxConsecutiveSkips: 4,
        outputDir,
        overwriteOutputDir: true,
        saveSteps,
      };
      const { failure, events } = await run(base, given);
      expect(failure).toMatchObject({ code: "NUMERICAL", message });
      expect(events.at(-1)).toMatchObject({ step: 5, skippedSteps: 3 });
    }
    await using base = await newModel();
    const broke = await broken(base, () => true);
    const { failure } = await run(base, {
      ...broke,
      maxConsecutiveSkips: 4,
      outputDir,
      resume: join(outputDir, "checkpoint-5"),
    });
    expect(failure).toMatchObject({ code: "NUMERICAL", message });
  });
});

test("a resumed run reports the same as an uninterrupted one, bit for bit, wherever it stopped", async () => {
  const given = { loggingSteps: 4, zLoss: 1e-4 };
  await using base = await newModel();
  const whole = await run(base, given);
  expect(whole.events).toHaveLength(2);
  const told = ({ tokensPerSecond: _, ...event }: StepEvent) => event;
  for (const stop of [3, 4, 6]) {
    const outputDir = join(folder, `stop-${stop}`);
    await using first = await newModel();
    const controller = new AbortController();
    const { failure } = await run(first, {
      ...given,
      outputDir,
      signal: controller.signal,
      evalSteps: stop,
      evaluate: () => {
        controller.abort();
        return {};
      },
    });
    expect(failure?.code).toBe("ABORTED");
    await using second = await newModel();
    const { events } = await run(second, { ...given, outputDir, resume: true });
    expect(events.map(told)).toEqual(whole.events.filter(({ step }) => step > stop).map(told));
  }
});

test("options without effect are reported", async () => {
  await using base = await newModel();
  const evaluate = () => ({ score: 1 });
  const none =
    "evalSteps: no evaluation takes place, because neither held-out data (evalData, evalFraction) nor evaluate is given";
  const alone = "metricForBestModel: it has no effect without loadBestModelAtEnd or earlyStoppingPatience";
  const told = async (more: Partial<PretrainOptions>) => (await run(base, { maxSteps: 1, ...more })).warnings;
  expect(await told({ evalSteps: 1, metricForBestModel: "score" })).toEqual([none, alone]);
  expect(await told({ evalSteps: 1, metricForBestModel: "score", evaluate })).toEqual([alone]);
  expect(await told({ evalSteps: 1, evalData: join(folder, "train.jsonl") })).toEqual([]);
  expect(await told({ evalSteps: 1, metricForBestModel: "score", evaluate, loadBestModelAtEnd: true })).toEqual([]);
});

describe("loss spikes", () => {
  const watched = (more: Partial<LossSpikeGuardOptions> = {}) => {
    const warnings: string[] = [];
    const watch = new LossSpikeGuard(
      { skipNonFinite: false, lossSpikeThreshold: 6, ...more },
      (m) => void warnings.push(m),
    );
    return { watch, warnings };
  };
  /** Passes losses to the guard as the trainer does. @returns the skipped steps */
  const look = (watch: LossSpikeGuard, losses: readonly number[], from = 0) =>
    losses.flatMap((loss, i) => {
      if (watch.shouldSkip(from + i + 1, loss, loss)) return [from + i + 1];
      watch.recordUpdate(loss);
      return [];
    });
  const calm = Array.from({ length: 40 }, (_, i) => 3 + 0.1 * Math.sin(i));

  test("are detected by the spread of recent losses, counted, and skipped if asked for", () => {
    const { watch, warnings } = watched();
    expect(look(watch, [...calm, 9, ...calm, 9])).toEqual([]);
    expect(watch.counts).toEqual({ skippedSteps: 0, lossSpikes: 2 });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /^step 41: a loss of 9 is a spike compared with the 40 losses before it \(mean 3\.\d+, standard deviation 0\.07\d*\); skipLossSpikes would skip it; further ones are counted in lossSpikes$/,
    );
    const leaving = watched({ skipLossSpikes: true });
    expect(look(leaving.watch, [...calm, 9, ...calm, 9])).toEqual([41, 82]);
    expect(leaving.watch.counts).toEqual({ skippedSteps: 2, lossSpikes: 2 });
    expect(leaving.warnings).toHaveLength(1);
    expect(() => look(leaving.watch, Array(20).fill(9), 100)).toThrow(
      /^step 109: expected fewer than 10 skipped steps in a row/,
    );
    expect(leaving.watch.counts.skippedSteps).toBe(10); // the step that ended the run does not count
  });

  test("are not reported for few, falling or nearly constant losses, nor with a threshold of 0", () => {
    expect(look(watched({ skipLossSpikes: true }).watch, [3, 3, 3, 9, 3, 9])).toEqual([]);
    const falling = Array.from({ length: 200 }, (_, i) => 10 * Math.exp(-i / 30) + 1);
    expect(look(watched({ skipLossSpikes: true }).watch, [...falling, 1.2])).toEqual([]);
    expect(look(watched({ skipLossSpikes: true }).watch, [...Array(50).fill(0.001), 0.1])).toEqual([]);
    const { watch } = watched({ skipLossSpikes: true, lossSpikeThreshold: 0 });
    expect(look(watch, [...calm, 9])).toEqual([]);
    expect(watch.counts).toEqual({ skippedSteps: 0 });
  });

  test("are detected by a resumed run as by an uninterrupted one", () => {
    const [one, two] = [watched({ skipLossSpikes: true }).watch, watched({ skipLossSpikes: true }).watch];
    look(one, calm);
    two.restore(JSON.parse(JSON.stringify(one.state)));
    for (const watch of [one, two]) expect(look(watch, [9, 3], 40)).toEqual([41]);
    expect(two.counts).toEqual(one.counts);
  });
});
