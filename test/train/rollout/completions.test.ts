// logCompletions keeps answers of each logged step: in events, in completions.jsonl, in trackers and in the report.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { completionsTable } from "../../../lib/cli/terminal/completions-table.ts";
import { renderRunReport } from "../../../lib/report/run/report.ts";
import { readRuns } from "../../../lib/report/run/run-data.ts";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type GrpoOptions, grpo } from "../../../lib/train/stages/grpo.ts";
import { type PpoOptions, ppo } from "../../../lib/train/stages/ppo.ts";
import type { SampledCompletion, Tracker } from "../../../lib/train/tracking/tracker.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { eventsIn } from "../tracking/tensorboard-reader.ts";

let folder: string;
let tokenizer: Awaited<ReturnType<typeof tinyTokenizer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-completions-"));
  tokenizer = await tinyTokenizer();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const long = ({ completions }: { completions: readonly string[] }) => completions.map((text) => text.length);
const never = ({ completions }: { completions: readonly string[] }) => completions.map(() => null);
const prompts = ["The cat", "A dog", "The sun"].map((prompt) => ({ prompt }));
const options = {
  prompts,
  rewards: [long, never],
  rewardWeights: [0.5, 1] as number[],
  maxSteps: 4,
  maxCompletionLength: 5,
  perDeviceTrainBatchSize: 4,
  logCompletions: true,
  seed: 3,
} as const;

async function events(more: Partial<GrpoOptions>): Promise<TrainEvent[]> {
  await using model = tinyModel({ tokenizer });
  const all: TrainEvent[] = [];
  for await (const event of grpo(model, { ...options, numGenerations: 4, ...more })) all.push(event);
  return all;
}
const linesOf = async (outputDir: string) =>
  (await readFile(join(outputDir, "completions.jsonl"), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("logCompletions", () => {
  test("adds the first answers of a rollout, with rewards and advantages, to each event", async () => {
    const all = await events({ evalPrompts: prompts.slice(0, 1), evalSteps: 2, numCompletionsToPrint: 3 });
    expect(all.map((event) => event.completions?.length)).toEqual([3, 3, 3, 3, 3, 3]);
    for (const { completions } of all) {
      expect(new Set(completions!.map(({ prompt }) => prompt)).size).toBe(1); // the answers are one group, so they have one prompt
      for (const { prompt, completion, reward, rewards, advantage } of completions!) {
        expect(prompts.some((row) => prompt.endsWith(row.prompt))).toBe(true);
        expect(rewards).toEqual({ long: 2 * reward, never: null });
        expect(rewards.long).toBe(completion.length);
        expect(advantage).toEqual(expect.any(Number));
      }
    }
    const rewarded = all.flatMap(({ completions }) => completions!);
    expect(new Set(rewarded.map(({ completion }) => completion)).size).toBeGreaterThan(2);
  });

  test("reports a rollout once, at the next logged step", async () => {
    const steps = await events({ maxSteps: 4, stepsPerGeneration: 2, numIterations: 1, gradientAccumulationSteps: 1 });
    expect(steps.map(({ completions }) => completions?.length)).toEqual([8, undefined, 8, undefined]);
    const rare = await events({ loggingSteps: 2 });
    expect(rare.map(({ step, completions }) => [step, completions?.length])).toEqual([
      [2, 4],
      [4, 4],
    ]);
  });

  test("adds nothing if it is false, and works for ppo", async () => {
    for (const { completions } of await events({ logCompletions: false })) expect(completions).toBeUndefined();
    await using model = tinyModel({ tokenizer });
    const { logCompletions, ...rest } = options;
    const more: Partial<PpoOptions> = { logCompletions, numCompletionsToPrint: 2 };
    for await (const { completions } of ppo(model, { ...rest, maxSteps: 1, ...more })) {
      expect(completions).toHaveLength(2);
      expect(completions![0]).toEqual({
        prompt: expect.any(String),
        completion: expect.any(String),
        reward: expect.any(Number),
        rewards: { long: expect.any(Number), never: null },
      });
    }
  });

  test("writes completions.jsonl, which a resumed run continues without duplicates", async () => {
    const outputDir = join(folder, "run");
    const samples: [number, readonly SampledCompletion[]][] = [];
    const tracker: Tracker = { log() {}, samples: (list, step) => void samples.push([step, list]) };
    const evaluation = { evalPrompts: prompts.slice(0, 1), evalSteps: 2 };
    const shared = { outputDir, saveSteps: 2, ...evaluation, reportTo: "tensorboard" as const };
    const whole = await events(evaluation);
    await using model = tinyModel({ tokenizer });
    for await (const { step } of grpo(model, { ...options, numGenerations: 4, ...shared })) if (step === 3) break;
    const resumed = await events({ ...shared, resume: true, trackers: [tracker] });
    const expected = whole.flatMap((event) =>
      event.completions!.map((one) => ({
        step: event.step,
        ...(!("loss" in event) && { evaluation: true }),
        ...one,
      })),
    );
    expect(await linesOf(outputDir)).toEqual(expected);
    expect(await readFile(join(outputDir, "log.jsonl"), "utf8")).not.toContain('completion"');
    expect(samples).toEqual(resumed.flatMap((e) => ("loss" in e && e.completions ? [[e.step, e.completions]] : [])));

    // TensorBoard's table has a row for each answer below the header row.
    const texts = eventsIn(join(outputDir, "runs")).flatMap(({ step, values }) =>
      values.flatMap(({ tag, texts, shape }) => (tag === "completions" ? [{ step, texts, shape }] : [])),
    );
    expect(texts.map(({ step }) => step)).toEqual([1, 2, 3, 3, 4]); // step 3 of the run that was left, and of the resumed one
    expect(texts[0]!.shape).toEqual([5, 6]);
    expect(texts[0]!.texts!.slice(0, 6)).toEqual(["prompt", "completion", "long", "never", "reward", "advantage"]);
    expect(texts[0]!.texts![7]).toBe(whole[0]!.completions![0]!.completion);

    const runs = await readRuns([outputDir]);
    expect(runs[0]!.completions.map(({ step, evaluation }) => [step, evaluation])).toEqual([
      [1, false],
      [2, false],
      [2, true],
      [3, false],
      [4, false],
      [4, true],
    ]);
    const page = renderRunReport(runs);
    expect(page).toContain("Step 2, held-out prompts");
    expect(page).toContain("The cat</p>");
  });
});

test("the table of answers has one line per answer, at most as wide as the terminal", () => {
  const one = {
    prompt: `${"long prompt ".repeat(20)}end?`,
    completion: "yes\nor\u001b[31m no",
    reward: 0.25,
    rewards: { a: 0.25 },
  };
  const two = { ...one, completion: "an answer ".repeat(30), reward: -1, advantage: 1.5, rewards: { a: 1, b: null } };
  const lines = completionsTable(7, [one, two], 80);
  expect(lines).toHaveLength(4);
  for (const line of lines) expect([...line].length).toBeLessThanOrEqual(80);
  expect(lines[0]).toBe("answers at step 7");
  expect(lines[1]).toMatch(/^ +a {2,}b {2}reward {2}advantage {2}prompt +answer$/);
  expect(lines[2]).toContain("yes or\\x1b[31m no");
  expect(lines[2]).toContain("end?");
  expect(lines[3]).toMatch(/^1\.000 +– +-1\.000 +1\.500/);
});
