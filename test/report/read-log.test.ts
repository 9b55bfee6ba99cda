import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_MORE_METRICS, readLog } from "../../lib/report/run/read-log.ts";
import { readRuns, summaryOf } from "../../lib/report/run/run-data.ts";
import { SupersededLines } from "../../lib/report/run/superseded-lines.ts";
import { failureOf } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-read-log-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
/** Writes a folder with this log. */
async function runWith(text: string): Promise<string> {
  const dir = join(folder, `run${count++}`);
  await mkdir(dir);
  await writeFile(join(dir, "log.jsonl"), text);
  return dir;
}

const step = (step: number, loss: number, more: object = {}) =>
  `${JSON.stringify({ step, maxSteps: 10, loss, learningRate: 0.1, gradNorm: 1, tokensPerSecond: 5, tokensSeen: 8 * step, skippedSteps: 0, ...more })}\n`;
const evaluation = (step: number, evalLoss: number) =>
  `${JSON.stringify({ step, maxSteps: 10, evalLoss, tokens: 4 })}\n`;
const pointsOf = (curves: Map<string, { points: unknown }>, name: string) => curves.get(name)?.points;

describe("a run's log", () => {
  test("becomes a curve for each metric of training and evaluation", async () => {
    const metrics = { reward: 2, "rewards/short": -1 };
    const log = await readLog(
      await runWith(step(1, 3, { metrics }) + step(2, 2, { metrics, seconds: 7 }) + evaluation(2, 4)),
    );
    expect([...log.training.keys()]).toEqual([
      "loss",
      "learningRate",
      "gradNorm",
      "tokensPerSecond",
      "reward",
      "rewards/short",
    ]);
    expect(pointsOf(log.training, "loss")).toEqual([
      [1, 3],
      [2, 2],
    ]);
    expect(pointsOf(log.heldOut, "loss")).toEqual([[2, 4]]);
    expect(log).toMatchObject({ step: 2, maxSteps: 10, seconds: 7, tokensSeen: 16, unreadable: 0, superseded: 0 });
  });

  test("may end in the middle of a line, and have broken lines", async () => {
    const log = await readLog(
      await runWith(`${step(1, 3)}\u0000garbage\n[]\n{"step":"x"}\n${step(2, 2)}{"step":3,"maxSteps":10,"lo`),
    );
    expect(pointsOf(log.training, "loss")).toEqual([
      [1, 3],
      [2, 2],
    ]);
    expect(log.unreadable).toBe(4);
  });

  test("has the steps of a resumed run in place of the earlier steps that it repeats", async () => {
    const first = step(1, 1) + step(2, 2) + evaluation(2, 20) + step(3, 3) + step(4, 4) + evaluation(4, 40);
    const log = await readLog(await runWith(first + step(3, 33) + step(4, 44) + evaluation(4, 44)));
    expect(pointsOf(log.training, "loss")).toEqual([
      [1, 1],
      [2, 2],
      [3, 33],
      [4, 44],
    ]);
    expect(pointsOf(log.heldOut, "loss")).toEqual([
      [2, 20],
      [4, 44],
    ]);
    expect(log.superseded).toBe(3);
  });

  test("has a gap where the loss is not a number, and survives hostile metrics", async () => {
    const metrics = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`metric${i}`, i]));
    const hostile = { metrics: { ...metrics, ["x".repeat(5000)]: 1, constructor: 1, text: "no" } };
    const log = await readLog(await runWith(step(1, Number.NaN) + step(2, 2, hostile) + step(3, 1, { metrics: [1] })));
    expect(pointsOf(log.training, "loss")).toEqual([
      [1, null],
      [2, 2],
      [3, 1],
    ]);
    expect(log.training.size).toBe(100);
    // Four of the 100 curves belong to fields of the step. So 204 of the 300 metrics have no curve, nor do constructor and the long name.
    expect(log.moreMetrics).toBe(206);
  });

  test("counts long names of metrics that have the same beginning, up to a limit", async () => {
    const named = (length: number, name: (i: number) => string) =>
      Object.fromEntries(Array.from({ length }, (_, i) => [name(i), i]));
    const long = named(3, (i) => `${"x".repeat(500)}${i}`);
    expect(
      (await readLog(await runWith(step(1, 1, { metrics: long }) + step(2, 1, { metrics: long })))).moreMetrics,
    ).toBe(3);
    const many = named(10_200, (i) => `metric${i}`);
    expect((await readLog(await runWith(step(1, 1, { metrics: many })))).moreMetrics).toBe(MAX_MORE_METRICS);
  });

  test("is refused if it has no event", async () => {
    for (const text of ["", "\n", "{}\n"]) {
      const dir = await runWith(text);
      expect((await failureOf(() => readLog(dir)))!.code).toBe("INVALID_FILE");
    }
    const dir = await runWith("hello\n");
    expect(await failureOf(() => readLog(dir))).toEqual({
      code: "INVALID_FILE",
      message: `${join(dir, "log.jsonl")}: expected the log of a run, got no step and no evaluation`,
    });
  });
});

test("in any log, lines that a later part repeats are left out", () => {
  const lines = fc.array(
    fc.record({ kind: fc.constantFrom("step" as const, "evaluation" as const), step: fc.integer({ min: 1, max: 8 }) }),
  );
  fc.assert(
    fc.property(lines, (all) => {
      const found = new SupersededLines();
      for (const [i, { kind, step }] of all.entries()) found.note(i, kind, step);
      const counts = found.filter();
      const kept = all.filter(({ kind, step }, i) => counts(i, kind, step));
      // The rule: a line replaces earlier lines of its kind for the same or a later step. A step also replaces earlier evaluations of such steps.
      let expected: typeof all = [];
      for (const line of all) {
        expected = expected.filter((old) => old.step < line.step || old.kind !== line.kind);
        if (line.kind === "step") expected = expected.filter((old) => old.step < line.step);
        expected.push(line);
      }
      expect(kept).toEqual(expected);
    }),
    { numRuns: 500 },
  );
});

describe("runs", () => {
  test("have the names of their folders, or their paths if two are equal", async () => {
    const dirs = [join(folder, "a", "out"), join(folder, "b", "out"), join(folder, "c")];
    for (const dir of dirs) {
      await mkdir(dir, { recursive: true });
      await writeFile(join(dir, "log.jsonl"), step(1, 2));
    }
    expect((await readRuns(dirs)).map(({ name }) => name)).toEqual([dirs[0], dirs[1], "c"]);
    // The path of a log.jsonl is accepted as well as its folder.
    expect((await readRuns([join(dirs[2]!, "log.jsonl")])).map(({ folder }) => folder)).toEqual([dirs[2]]);
  });

  test("have a summary with the last values, and the best evaluation", async () => {
    const dir = await runWith(step(1, 3) + evaluation(1, 4) + step(2, 2) + evaluation(2, 5));
    await writeFile(join(dir, "model_card.json"), JSON.stringify({ stage: "sft" }));
    const [run] = await readRuns([dir]);
    expect(summaryOf(run!)).toMatchObject({
      stage: "sft",
      steps: 2,
      maxSteps: 10,
      training: { loss: 2 },
      heldOut: { loss: 5 },
      bestEvaluation: { step: 1, loss: 4 },
    });
  });

  test("are read without a card that is broken", async () => {
    const dir = await runWith(step(1, 3));
    await writeFile(join(dir, "model_card.json"), "{");
    const [run] = await readRuns([dir]);
    expect(run!.card).toBeUndefined();
    expect(run!.cardProblem).toContain("model_card.json");
  });

  test("are rejected without a log, and the error lists folders below that have one", async () => {
    const outer = join(folder, "outer");
    await mkdir(join(outer, "inner"), { recursive: true });
    expect((await failureOf(() => readRuns([outer])))!.message).toMatch(/got a folder without log\.jsonl$/);
    await appendFile(join(outer, "inner", "log.jsonl"), step(1, 1));
    expect(await failureOf(() => readRuns([outer]))).toEqual({
      code: "NOT_FOUND",
      message: `${outer}: expected the outputDir of a training run, got a folder without log.jsonl; runs are in ${join(outer, "inner")}`,
    });
    expect((await failureOf(() => readRuns([join(folder, "none")])))!.message).toContain("got no such folder");
    expect((await failureOf(() => readRuns(Array.from({ length: 9 }, () => outer))))!.code).toBe("INVALID_ARGUMENT");
  });
});
