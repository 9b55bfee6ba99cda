// log.jsonl stores a run's events in its output folder.
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { COMPLETIONS_FILE, LOG_FILE } from "../../../lib/train/tracking/run-log.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
let tokenizer: Awaited<ReturnType<typeof tinyTokenizer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-log-"));
  tokenizer = await tinyTokenizer();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rows = sentences.slice(0, 8).map((text) => ({ text }));
async function run(outputDir: string | undefined, more: Partial<SftOptions>, until = Number.POSITIVE_INFINITY) {
  await using model = tinyModel({ tokenizer });
  const events: TrainEvent[] = [];
  const options = {
    data: rows,
    evalData: rows.slice(0, 2),
    evalSteps: 2,
    maxSteps: 6,
    dtype: "f32",
    outputDir,
  } as const;
  for await (const event of sft(model, { ...options, perDeviceTrainBatchSize: 2, ...more })) {
    events.push(event);
    if (event.step >= until) break;
  }
  return events;
}
const logOf = async (outputDir: string) =>
  (await readFile(join(outputDir, LOG_FILE), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
/** Changes every event of a run's log. */
async function rewrite(outputDir: string, change: (event: { seconds: number }) => object) {
  const lines = (await logOf(outputDir)).map((event) => `${JSON.stringify(change(event))}\n`);
  await writeFile(join(outputDir, LOG_FILE), lines.join(""));
}
const numbered = (events: TrainEvent[]) => events.map((e) => ("loss" in e ? `step ${e.step}` : `evaluation ${e.step}`));

test("log.jsonl has every event of a run, and is replaced by a run that overwrites the folder", async () => {
  const outputDir = join(folder, "whole");
  for (const maxSteps of [6, 4]) {
    const events = await run(outputDir, { maxSteps, overwriteOutputDir: true });
    const logged = await logOf(outputDir);
    expect(logged.map(({ seconds: _, ...event }) => event)).toEqual(events);
    expect(logged.map(({ seconds }) => seconds)).toEqual(logged.map(({ seconds }) => seconds).sort((a, b) => a - b));
    expect(logged[0].seconds).toBeGreaterThan(0);
  }
});

test("a resumed run removes logged events that it repeats, and leaves no gap", async () => {
  const outputDir = join(folder, "resumed");
  const whole = await run(undefined, {});
  await run(outputDir, { saveSteps: 3 }, 5);
  await rewrite(outputDir, (event) => ({ ...event, seconds: event.seconds + 1000 }));
  await appendFile(join(outputDir, LOG_FILE), '{"step": 5, "lo'); // as a kill leaves it
  await run(outputDir, { saveSteps: 3, resume: true });
  const logged = await logOf(outputDir);
  expect(numbered(logged)).toEqual(numbered(whole));
  expect(logged.map((e) => e.loss ?? e.evalLoss)).toEqual(whole.map((e) => ("loss" in e ? e.loss : e.evalLoss)));
  // The seconds of the resumed run continue those of the previous run.
  const seconds: number[] = logged.map((e) => e.seconds);
  expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  expect(Math.min(...seconds)).toBeGreaterThan(1000);
  // A finished run, resumed, repeats only its last evaluation.
  await run(outputDir, { resume: true });
  expect(numbered(await logOf(outputDir))).toEqual(numbered(whole));
});

test("log.jsonl has an evaluation before the checkpoint of its step is saved, since a resumed run does not repeat it", async () => {
  const outputDir = join(folder, "best");
  await using model = tinyModel({ tokenizer });
  const options = { data: rows, evalData: rows.slice(0, 2), evalSteps: 2, maxSteps: 4, loadBestModelAtEnd: true };
  for await (const { step } of sft(model, { ...options, perDeviceTrainBatchSize: 2, outputDir })) {
    if (step < 3) continue;
    expect(await readdir(outputDir)).toContain("checkpoint-2");
    expect(numbered(await logOf(outputDir))).toContain("evaluation 2");
    break;
  }
});

test("a run rejects a log.jsonl that is not a log, and leaves it as it is", async () => {
  const outputDir = join(folder, "other");
  await run(outputDir, { maxSteps: 1 });
  await writeFile(join(outputDir, LOG_FILE), "mine\n");
  await expect(run(outputDir, { maxSteps: 1 })).rejects.toThrow(/log\.jsonl: expected the log of a run/);
  expect(await readFile(join(outputDir, LOG_FILE), "utf8")).toBe("mine\n");
});

test("a run rejects a completions.jsonl that another program wrote, and leaves it as it is", async () => {
  const outputDir = join(folder, "completions");
  await mkdir(outputDir);
  const path = join(outputDir, COMPLETIONS_FILE);
  const rows = `${JSON.stringify({ prompt: "a", completion: "b" })}\n`;
  await writeFile(path, rows);
  for (const overwriteOutputDir of [false, true])
    await expect(run(outputDir, { maxSteps: 1, overwriteOutputDir })).rejects.toThrow(
      /completions\.jsonl: expected the completions of a run/,
    );
  expect(await readFile(path, "utf8")).toBe(rows);
});
