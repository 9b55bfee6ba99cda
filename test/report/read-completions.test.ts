// The sampled answers that a report of a run shows.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readCompletions } from "../../lib/report/run/read-completions.ts";
import { COMPLETIONS_FILE } from "../../lib/train/tracking/run-log.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-completions-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Kind = "train" | "eval";

/** Reads a log that has two answers of each given step. */
async function read(steps: readonly [number, Kind][]) {
  const lines = steps.flatMap(([step, kind]) =>
    ["a", "b"].map((completion) => {
      const more = kind === "eval" ? { evaluation: true } : {};
      return `${JSON.stringify({ step, ...more, prompt: "p", completion, reward: 1, rewards: {} })}\n`;
    }),
  );
  writeFileSync(join(folder, COMPLETIONS_FILE), lines.join(""));
  const all = await readCompletions(folder);
  for (const { completions } of all) expect(completions.map(({ completion }) => completion)).toEqual(["a", "b"]);
  const stepsOf = (evaluation: boolean) => all.filter((one) => one.evaluation === evaluation).map(({ step }) => step);
  return { all, train: stepsOf(false), eval: stepsOf(true) };
}

const both = (first: number, last: number) =>
  Array.from({ length: (last - first) / 10 + 1 }, (_, i) => first + 10 * i).flatMap((step): [number, Kind][] => [
    [step, "train"],
    [step, "eval"],
  ]);

describe("the selection of answers in a report", () => {
  test("shows every step of a short run, training before evaluation", async () => {
    const { all } = await read(both(10, 30));
    expect(all.map(({ step, evaluation }) => [step, evaluation])).toEqual([
      ...[10, 20, 30].flatMap((step) => [
        [step, false],
        [step, true],
      ]),
    ]);
  });

  test("spreads answers of training and of evaluation over a long run, with the last of each", async () => {
    const { train, eval: evaluations } = await read(both(10, 120));
    expect(train).toEqual([10, 30, 50, 70, 90, 110, 120]);
    expect(evaluations).toEqual(train);
  });

  test("includes the last answers of training if evaluations are rare, and vice versa", async () => {
    const rare = both(10, 400).filter(([step, kind]) => kind === "train" || step === 130 || step === 400);
    const seldom = await read(rare);
    expect(seldom.eval).toEqual([130, 400]);
    expect(seldom.train.at(-1)).toBe(400);
    expect(seldom.train.length).toBeGreaterThan(4);
    const often = await read([...both(10, 20), ...both(30, 400).filter(([, kind]) => kind === "eval")]);
    expect(often.train).toEqual([10, 20]);
    expect(often.eval.at(-1)).toBe(400);
  });

  test("replaces the steps that a resumed run repeats, in training and in evaluation", async () => {
    const { train, eval: evaluations } = await read([...both(10, 60), ...both(30, 40)]);
    expect(train).toEqual([10, 20, 30, 40]);
    expect(evaluations).toEqual([10, 20, 30, 40]);
    const early = await read([...both(10, 60), [20, "train"]]);
    expect([early.train, early.eval]).toEqual([[10, 20], [10]]);
    const long = await read([...both(10, 200), [150, "train"]]);
    expect([long.train.at(-1), long.eval.at(-1)! < 150]).toEqual([150, true]);
  });
});
