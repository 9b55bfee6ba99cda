// If the log cannot be written, the error is thrown into the run. The log has no gap and no partial line.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { StepEvent, TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { LOG_FILE, RunLog } from "../../../lib/train/tracking/run-log.ts";

const refused = vi.hoisted(() => ({ appends: 0 }));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  return {
    ...real,
    async appendFile(path: string, bytes: Buffer) {
      if (refused.appends === 0) return real.appendFile(path, bytes);
      refused.appends -= 1;
      await real.appendFile(path, bytes.subarray(0, bytes.length / 2)); // the part that fits on the disk
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    },
  };
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-refused-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const step = (n: number): StepEvent => ({
  step: n,
  maxSteps: 9,
  loss: 1 / n,
  learningRate: 1,
  gradNorm: 1,
  tokensPerSecond: 1,
  tokensSeen: n,
  skippedSteps: 0,
});
const stepsOf = async (path: string) =>
  (await readFile(path, "utf8")).split("\n").map((line) => (line === "" ? "" : JSON.parse(line).step));

test("unwritten lines are kept for the next flush, and the file has no partial line", async () => {
  const outputDir = await mkdtemp(join(folder, "lines-"));
  const log = new RunLog(outputDir);
  const at: number[] = [];
  async function* events(): AsyncGenerator<TrainEvent, string, void> {
    for (let n = 1; n <= 6; n++) {
      yield step(n);
      if (n === 2) await log.flush();
      if (n !== 4) continue;
      refused.appends = 1;
      await expect(log.flush()).rejects.toMatchObject({
        code: "IO",
        message: expect.stringMatching(/log\.jsonl: cannot be written: no space left on the disk$/),
      });
      at.push(...(await stepsOf(join(outputDir, LOG_FILE))).filter(Number));
    }
    return "done";
  }
  for await (const _ of log.follow(events()));
  expect(at).toEqual([1, 2]);
  expect(await stepsOf(join(outputDir, LOG_FILE))).toEqual([1, 2, 3, 4, 5, 6, ""]);
});

test("a run's own error takes precedence over the log's, which is otherwise thrown into the run", async () => {
  const outputDir = await mkdtemp(join(folder, "heard-"));
  const clock = vi.spyOn(performance, "now");
  let now = 0;
  clock.mockImplementation(() => (now += 10_000)); // each event is written at once
  try {
    const heard: unknown[] = [];
    async function* failing(own?: Error): AsyncGenerator<TrainEvent, string, void> {
      try {
        yield step(1);
        if (own) refused.appends = 9;
        if (own) throw own;
        yield step(2);
        return "done";
      } catch (error) {
        heard.push(error);
        throw error;
      }
    }
    const own = new Error("the data is gone");
    const follow = async (events: AsyncGenerator<TrainEvent, string, void>) => {
      for await (const _ of new RunLog(outputDir).follow(events));
    };
    await expect(follow(failing(own))).rejects.toBe(own);
    refused.appends = 1;
    await expect(follow(failing())).rejects.toMatchObject({ code: "IO" });
    expect(heard).toMatchObject([own, { code: "IO" }]);
    expect(await readdir(outputDir)).toEqual(["log.jsonl"]);
  } finally {
    clock.mockRestore();
    refused.appends = 0;
  }
});
