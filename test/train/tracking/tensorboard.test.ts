import { mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crc32c as fastCrc32c } from "../../../lib/formats/digest.ts";
import { tensorBoard } from "../../../lib/index.ts";
import type { StepEvent, TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { encodeEvent } from "../../../lib/train/tracking/tensorboard/event-message.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { crc32c, eventOf, eventsIn, scalarsIn } from "./tensorboard-reader.ts";

let folder: string;
let tokenizer: Awaited<ReturnType<typeof tinyTokenizer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-tensorboard-"));
  tokenizer = await tinyTokenizer();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rows = sentences.slice(0, 8).map((text) => ({ text }));
async function run(more: Partial<SftOptions>, until = Number.POSITIVE_INFINITY): Promise<TrainEvent[]> {
  await using model = tinyModel({ tokenizer });
  const events: TrainEvent[] = [];
  const held = { evalData: rows.slice(0, 2), evalSteps: 2 };
  for await (const event of sft(model, { data: rows, ...held, maxSteps: 6, perDeviceTrainBatchSize: 2, ...more })) {
    events.push(event);
    if (event.step >= until) break;
  }
  return events;
}
const steps = (events: readonly TrainEvent[]) => events.filter((event): event is StepEvent => "loss" in event);
const losses = (events: readonly TrainEvent[]) => steps(events).map(({ step, loss }) => [step, Math.fround(loss)]);

test("checksums are those of RFC 3720", () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
  const read10 = Buffer.from(
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000020000000000000000",
    "hex",
  ).subarray(0, 48);
  for (const [bytes, sum] of [
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(255), 0x62a8ab43],
    [ascending, 0x46dd794e],
    [ascending.toReversed(), 0x113fdb5c],
    [read10, 0xd9963a56],
    [Buffer.from("123456789"), 0xe3069283],
  ] as const) {
    expect(crc32c(bytes)).toBe(sum);
    expect(fastCrc32c(bytes)).toBe(sum);
  }
});

describe("an event", () => {
  test.each([0, 1, 127, 128, 300, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER])("keeps step %d", (step) => {
    const event = eventOf(encodeEvent({ wallTime: 1234.5, step, values: [{ tag: "größe/ß", number: -0.1 }] }));
    expect(event).toEqual({ wallTime: 1234.5, step, values: [{ tag: "größe/ß", number: Math.fround(-0.1) }] });
  });

  test("is rejected by the reader of these tests if it ends within a number or a text", () => {
    for (const bytes of [[0x10], [0x10, 0x80], [0x80], [0x1a, 0x05, 0x61], [0x09, 0x00]])
      expect(() => eventOf(Buffer.from(bytes))).toThrow("a message is truncated");
  });

  test("has the bytes that the protocol buffer's definition gives", () => {
    expect(encodeEvent({ wallTime: 1, step: 3, fileVersion: "brain.Event:2" }).toString("hex")).toBe(
      `09000000000000f03f10031a0d${Buffer.from("brain.Event:2").toString("hex")}`,
    );
    expect(encodeEvent({ wallTime: 1, step: 5, sessionStart: true }).toString("hex")).toBe(
      "09000000000000f03f10053a020801",
    );
    expect(encodeEvent({ wallTime: 1, step: 1, values: [{ tag: "a", number: 1 }] }).toString("hex")).toBe(
      "09000000000000f03f10012a0a0a080a0161150000803f",
    );
  });

  test("keeps numbers that are not finite, and tables of texts", () => {
    const values = [
      { tag: "nan", number: Number.NaN },
      { tag: "inf", number: Number.NEGATIVE_INFINITY },
      {
        tag: "t",
        texts: [
          ["a", "b"],
          ["", "ü\n|"],
        ],
      },
    ];
    expect(eventOf(encodeEvent({ wallTime: 0, step: 0, values })).values).toEqual([
      ...values.slice(0, 2),
      { tag: "t", plugin: "text", shape: [2, 2], texts: ["a", "b", "", "ü\n|"] },
    ]);
  });
});

describe("reportTo: tensorboard", () => {
  test("writes every metric of a run into outputDir/runs", async () => {
    const outputDir = join(folder, "whole");
    const events = await run({ outputDir, reportTo: "tensorboard" });
    const scalars = scalarsIn(join(outputDir, "runs"));
    expect(scalars["train/loss"]).toEqual(losses(events));
    expect(scalars["train/learningRate"]).toEqual(steps(events).map((e) => [e.step, Math.fround(e.learningRate)]));
    const held = events.flatMap((e) => ("evalLoss" in e ? [[e.step, Math.fround(e.evalLoss!)]] : []));
    expect(scalars["eval/loss"]).toEqual(held);
    expect(held).toHaveLength(3);
    const [version, config] = eventsIn(join(outputDir, "runs"));
    expect(version).toMatchObject({ step: 0, fileVersion: "brain.Event:2" });
    expect(Math.abs(version!.wallTime - Date.now() / 1000)).toBeLessThan(600);
    expect(config!.values[0]).toMatchObject({ tag: "config", plugin: "text", shape: [1, 1] });
    expect(config!.values[0]!.texts![0]).toContain('"maxSteps": 6');
  });

  test("has no step twice after a kill and a resume, although the killed run's file ends in a broken record", async () => {
    const outputDir = join(folder, "resumed");
    const options = { outputDir, saveSteps: 2, reportTo: ["tensorboard" as const] };
    const whole = await run({});
    await run(options, 5); // the loop is left after step 5, and checkpoint 4 is the last
    const runs = join(outputDir, "runs");
    const [file] = await readdir(runs);
    await truncate(join(runs, file!), (await stat(join(runs, file!))).size - 3);
    expect(
      scalarsIn(runs)
        ["train/loss"]!.map(([step]) => step)
        .slice(0, 4),
    ).toEqual([1, 2, 3, 4]);
    const resumed = await run({ ...options, resume: true });
    expect(steps(resumed).map(({ step }) => step)).toEqual([5, 6]);
    expect(await readdir(runs)).toHaveLength(2);
    const scalars = scalarsIn(runs);
    expect(scalars["train/loss"]).toEqual(losses(whole));
    expect(scalars["eval/loss"]!.map(([step]) => step)).toEqual([2, 4, 6]);
    const starts = eventsIn(runs).filter(({ sessionStart }) => sessionStart);
    expect(starts.map(({ step }) => step)).toEqual([5]);
  });

  test("replaces the events of a run that is overwritten", async () => {
    const outputDir = join(folder, "overwritten");
    await run({ outputDir, reportTo: "tensorboard" });
    const events = await run({ outputDir, reportTo: "tensorboard", overwriteOutputDir: true, seed: 7, maxSteps: 3 });
    expect(scalarsIn(join(outputDir, "runs"))["train/loss"]).toEqual(losses(events));
  });

  test("writes into loggingDir if it is given; a folder that cannot be written only gives a warning", async () => {
    const events = await run({ reportTo: "tensorboard", loggingDir: join(folder, "elsewhere") });
    expect(scalarsIn(join(folder, "elsewhere"))["train/loss"]).toEqual(losses(events));
    await writeFile(join(folder, "file"), "");
    const warnings: string[] = [];
    const others = await run({
      trackers: [tensorBoard(join(folder, "file", "below"))],
      maxSteps: 2,
      onWarning: (message) => warnings.push(message),
    });
    expect(steps(others)).toHaveLength(2);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^tracker tensorboard: .*file.*; the run is not affected$/);
    expect(() => tensorBoard("")).toThrow('tensorBoard: expected a folder, got ""');
  });
});
