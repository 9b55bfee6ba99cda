// Trackers receive a run's metrics, and cannot disturb it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import type { TrackedRun, Tracker } from "../../../lib/train/tracking/tracker.ts";
import { TrackerQueue } from "../../../lib/train/tracking/tracker-queue.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
let tokenizer: Awaited<ReturnType<typeof tinyTokenizer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-trackers-"));
  tokenizer = await tinyTokenizer();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rows = sentences.slice(0, 8).map((text) => ({ text }));
const options = {
  data: rows,
  evalData: rows.slice(0, 2),
  evalSteps: 2,
  maxSteps: 4,
  perDeviceTrainBatchSize: 2,
} as const;

async function run(more: Partial<SftOptions>, until = Number.POSITIVE_INFINITY) {
  await using model = tinyModel({ tokenizer });
  const events: TrainEvent[] = [];
  for await (const event of sft(model, { ...options, ...more })) {
    events.push(event);
    if (event.step >= until) break;
  }
  return events;
}

/** Returns a tracker that records its calls. */
function recorder() {
  const calls: unknown[][] = [];
  const tracker: Tracker = {
    async start(run) {
      calls.push(["start", run]);
    },
    log(metrics, step) {
      calls.push(["log", step, metrics]);
    },
    async end(status) {
      calls.push(["end", status]);
    },
  };
  return { calls, tracker };
}

describe("a tracker", () => {
  test("receives the start, every event and the end of a run", async () => {
    const { calls, tracker } = recorder();
    const outputDir = join(folder, "told");
    const events = await run({ trackers: [tracker], outputDir, learningRate: 1e-3 });
    const [, started] = calls[0] as [string, TrackedRun];
    expect(started).toMatchObject({ name: "told", stage: "sft", step: 0, maxSteps: 4 });
    expect(started.config).toMatchObject({ stage: "sft", learningRate: 1e-3, model: { modelType: "llama" } });
    expect(JSON.parse(JSON.stringify(started))).toEqual(started);
    const expected = events.map((event) => {
      if (!("loss" in event)) return ["log", event.step, { "eval/loss": event.evalLoss }];
      const { step, maxSteps: _, ...numbers } = event;
      return [
        "log",
        step,
        Object.fromEntries(Object.entries(numbers).map(([name, value]) => [`train/${name}`, value])),
      ];
    });
    expect(events.some((event) => "evalLoss" in event)).toBe(true);
    expect(calls.slice(1)).toEqual([...expected, ["end", "completed"]]);

    const resumed = recorder();
    await run({ trackers: [resumed.tracker], outputDir, learningRate: 1e-3, maxSteps: 5, resume: true });
    expect(resumed.calls[0]).toMatchObject(["start", { step: 4, maxSteps: 5 }]);
    expect(resumed.calls.filter(([what]) => what === "log").map(([, step]) => step)).toEqual([5, 5]);
  });

  test("receives the reason why a run ended early", async () => {
    const left = recorder();
    await run({ trackers: [left.tracker] }, 2);
    expect(left.calls.at(-1)).toEqual(["end", "aborted"]);
    const failed = recorder();
    const evaluate = () => Promise.reject(new Error("no"));
    await expect(run({ trackers: [failed.tracker], evaluate })).rejects.toThrow("no");
    expect(failed.calls.at(-1)).toEqual(["end", "failed"]);
    const refused = recorder();
    await expect(run({ trackers: [refused.tracker], resume: true, outputDir: join(folder, "none") })).rejects.toThrow();
    expect(refused.calls).toEqual([]);
  });

  test("cannot end a run, and its errors are reported once", async () => {
    const warnings: string[] = [];
    const { calls, tracker } = recorder();
    const broken: Tracker = {
      name: "broken",
      log: () => Promise.reject(new Error("the service is down")),
      end() {
        throw new Error("still down");
      },
    };
    const dead: Tracker = { start: () => Promise.reject(new Error("no key")), log: () => void calls.push(["never"]) };
    const events = await run({ trackers: [broken, dead, tracker], onWarning: (message) => warnings.push(message) });
    expect(events.at(-1)!.step).toBe(4);
    expect(warnings).toEqual([
      "tracker 2: no key; the run is not affected",
      "tracker broken: the service is down; the run is not affected",
    ]);
    expect(calls.at(-1)).toEqual(["end", "completed"]);
    expect(calls).not.toContainEqual(["never"]);
  });

  test("does not make a run wait for its answers", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const steps: number[] = [];
    const slow: Tracker = {
      start: () => gate,
      log: (_, step) => void steps.push(step),
      end: () => void steps.push(-1),
    };
    await using model = tinyModel({ tokenizer });
    for await (const { step } of sft(model, { ...options, trackers: [slow] })) {
      if (step < 4) expect(steps).toEqual([]);
      else release();
    }
    expect(steps).toEqual([1, 2, 2, 3, 4, 4, -1]);
  });

  test("a tracker that never answers delays a run's end only for a bounded time", async () => {
    const warnings: string[] = [];
    const queue = new TrackerQueue({ log: () => new Promise(() => {}) }, "stuck", (message) => warnings.push(message));
    queue.add((tracker) => tracker.log({}, 1));
    await queue.end(() => {}, 20);
    expect(warnings).toEqual([
      "tracker stuck: expected all calls to finish within 0.02 seconds after the run, got unfinished calls; the run is not affected",
    ]);
  });

  test("a tracker that is slower than the run misses calls beyond a bounded queue, but not the end of the run", async () => {
    const warnings: string[] = [];
    let count = 0;
    const queue = new TrackerQueue({ log: () => void count++ }, "slow", (message) => warnings.push(message));
    for (let i = 0; i < 20_000; i++) queue.add((tracker) => tracker.log({}, i));
    let hasEnded = false;
    await queue.end(() => {
      hasEnded = true;
    }, 10_000);
    expect([count, hasEnded]).toEqual([10_000, true]);
    expect(warnings).toEqual(["tracker slow: it is slower than the run; some of its calls are left out"]);
  });
});

test("options of trackers are checked before a run", async () => {
  const failure = async (more: object) => (await failureOf(() => run(more)))!.message;
  expect(await failure({ trackers: [{}] })).toBe(
    "trackers: expected an array of trackers, objects with a function log, got [an object]",
  );
  expect(await failure({ reportTo: "wandb" })).toBe('reportTo: expected "tensorboard" or "none", got "wandb"');
  expect(await failure({ reportTo: "tensorboard" })).toBe(
    "loggingDir: expected a folder for the event files, or outputDir, got none",
  );
  const warnings: string[] = [];
  await run({ loggingDir: folder, maxSteps: 1, onWarning: (message) => warnings.push(message) });
  expect(warnings).toContain('loggingDir: it has no effect without reportTo: "tensorboard"');
});
