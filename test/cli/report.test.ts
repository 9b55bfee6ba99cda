// `heddle report`, tested by the built command in a separate process.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folder, heddle, json, refused } from "./tiny.ts";

/** Writes the log of a run. Its last line is incomplete, as after a crash, so that reports count an unreadable line. */
async function writeRun(name: string): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  const events = [1, 2, 3].map((step) => ({ step, maxSteps: 3, loss: 4 - step, learningRate: 0.1, seconds: step }));
  const lines = [...events, { step: 3, maxSteps: 3, evalLoss: 1.5, tokens: 9 }].map((event) => JSON.stringify(event));
  await writeFile(join(folder, name, "log.jsonl"), `${lines.join("\n")}\n{"step":4,"ma`);
}

test("heddle report writes a page into the run's folder, and prints the documented fields", async () => {
  await writeRun("run");
  const [line] = await json(["report", "run"]);
  expect(line).toEqual({
    report: join("run", "report.html"),
    runs: [
      {
        name: "run",
        folder: "run",
        stage: null,
        steps: 3,
        maxSteps: 3,
        tokensSeen: null,
        seconds: 3,
        training: { loss: 1, learningRate: 0.1 },
        heldOut: { loss: 1.5 },
        bestEvaluation: { step: 3, loss: 1.5 },
        skippedSteps: 0,
        lossSpikes: 0,
        unreadableLines: 1,
      },
    ],
  });
  expect(await readFile(join(folder, "run", "report.html"), "utf8")).toContain("<!doctype html>");
});

test("heddle report compares runs in the file given by --out", async () => {
  await writeRun("a");
  await writeRun("b");
  const { code, stdout, stderr } = await heddle(["report", "a", "b", "--out", "both.html"]);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "The report is in both.html.\n", stderr: "" });
  expect(await readFile(join(folder, "both.html"), "utf8")).toContain("2 training runs");
});

test.each([
  [
    "a folder without a log",
    ["model"],
    "model: expected the outputDir of a training run, got a folder without log.jsonl",
  ],
  ["a folder of runs", ["runs"], "got a folder without log.jsonl; runs are in runs/one, runs/two"],
  ["a missing folder", ["none"], "none: expected the outputDir of a training run, got no such folder"],
  ["no folder", [], "arguments: expected DIR..., got none"],
  [
    "a page in a missing folder",
    ["run", "--out", "none/x.html"],
    "none/x.html: cannot be written: no such file or folder",
  ],
  ["a model", ["run", "--model", "default"], "--model: expected no model (DIR is the outputDir of a run)"],
])("heddle report rejects %s on one line", async (_, args, expected) => {
  for (const name of ["run", "runs/one", "runs/two"]) await writeRun(name);
  expect(await refused(["report", ...args], { json: false })).toContain(expected);
});
