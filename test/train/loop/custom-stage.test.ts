// `train` for custom stages: rows of files, custom schedules, and errors that name the stage's function.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { crossEntropy, input, tokenLogprob } from "../../../lib/graph/index.ts";
import {
  ExampleSource,
  type LossContext,
  readRows,
  type Stage,
  type TrainOptions,
  train,
} from "../../../lib/graph-entry.ts";
import type { StepEvent } from "../../../lib/index.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { failureOf, tinyModel } from "../../inference/helpers.ts";

const examples = Array.from({ length: 8 }, (_, i) => Int32Array.from({ length: 8 }, (_, j) => 10 + i + j));
const [sequences, sequenceLength] = [2, 8];
const rows = sequences * sequenceLength;

const collate = (batch: Int32Array[], total: number) => ({
  inputs: {
    ids: Int32Array.from(batch.flatMap((ids) => [...ids])),
    targets: Int32Array.from(batch.flatMap((ids) => [...ids.subarray(1), -1])),
    weights: new Float32Array(rows).fill(1 / total),
  },
  tokens: rows,
  counted: batch.length * (sequenceLength - 1),
});
const loss = ({ forward }: LossContext) => {
  const { hidden, head } = forward();
  return crossEntropy(hidden, head, input("targets", "i32", [rows]), input("weights", "f32", [rows]));
};
const stage: Stage<Int32Array[]> = {
  name: "own",
  count: (batch) => batch.length * (sequenceLength - 1),
  collate,
  loss,
};

async function run(parts: object, options: Partial<TrainOptions> = {}) {
  await using base = tinyModel();
  const source = new ExampleSource(examples, { batchSize: sequences, seed: 1 });
  const steps: StepEvent[] = [];
  const all = { maxSteps: 4, sequences, sequenceLength, ...options };
  for await (const event of train(base, { ...stage, ...parts }, source, all)) if ("loss" in event) steps.push(event);
  return steps;
}
const refused = async (parts: object, options: object = {}) => {
  const { code, message } = await failureOf(() => run(parts, options));
  expect(code).toBe("INVALID_ARGUMENT");
  return message;
};

test("a custom schedule gives each step its learning rate", async () => {
  const lrScheduler = ({ step, maxSteps }: { step: number; maxSteps: number }) => (step / maxSteps) ** 2;
  const rates = (await run({}, { learningRate: 0.01, lrScheduler })).map(({ learningRate }) => learningRate);
  expect(rates).toEqual([1, 4, 9, 16].map((n) => 0.01 * (n / 16)));
  expect(await refused({}, { lrScheduler: () => "x" })).toMatch(
    /^lrScheduler: step 1: expected a number of at least 0/,
  );
  expect(await refused({}, { lrScheduler: "cosin" })).toBe(
    'lrScheduler: expected one of cosine, linear, constant, constant_with_warmup, warmup_stable_decay, or a function of { step, maxSteps }, got "cosin"',
  );
});

describe("training with a custom stage", () => {
  test.each<[string, object, RegExp]>([
    [
      "collate returning undefined",
      { collate: () => undefined },
      /^own\.collate: expected \{ inputs, tokens, counted \}, got undefined$/,
    ],
    [
      "collate returning arrays without `inputs`",
      { collate: () => ({ ids: new Int32Array(rows) }) },
      /^own\.collate: expected \{ inputs/,
    ],
    [
      "collate returning no token count",
      { collate: (...given: Parameters<typeof collate>) => ({ ...collate(...given), tokens: undefined }) },
      /^own\.collate: tokens: expected a number, got undefined$/,
    ],
    [
      "an unused input",
      {
        collate: (...given: Parameters<typeof collate>) => {
          const micro = collate(...given);
          return { ...micro, inputs: { ...micro.inputs, target: micro.inputs.targets } };
        },
      },
      /^own\.collate: inputs\.target: expected an input that the loss reads \(nearest: targets\), got one that it does not$/,
    ],
    [
      "count returning undefined",
      { count: () => undefined },
      /^own\.count: expected the number of counted positions, got undefined$/,
    ],
    [
      "count returning NaN",
      { count: () => Number.NaN },
      /^own\.count: expected the number of counted positions, got NaN$/,
    ],
    [
      "loss returning undefined",
      { loss: () => undefined },
      /^own\.loss: expected a value of the graph, or an object with one/,
    ],
    [
      "loss returning a promise",
      { loss: async (context: LossContext) => loss(context) },
      /^own\.loss: expected a value of the graph/,
    ],
    [
      "a misspelt option of a forward pass",
      {
        loss: (context: LossContext) =>
          loss({ ...context, forward: (options) => context.forward({ ...options, document: 3 } as object) }),
      },
      /^own\.loss: forward: document: expected a known name \(nearest: documents\), got an unknown one$/,
    ],
    [
      "loss returning one value per row",
      {
        loss: ({ forward }: LossContext) => {
          const { hidden, head } = forward();
          return tokenLogprob(hidden, head, input("targets", "i32", [rows])).logprob;
        },
      },
      /^own\.loss: expected a value f32\(1\), the share of 2 sequences \(16 rows\) in the step's mean, got f32\(16\)$/,
    ],
    [
      "a metric that is not a value of the graph",
      { loss: (context: LossContext) => ({ loss: loss(context), share: 3 }) },
      /^own\.loss: share: expected a value of the graph, got 3$/,
    ],
    [
      "a metric that is a matrix",
      {
        loss: (context: LossContext) => {
          const { hidden, head } = context.forward();
          const { logprob } = tokenLogprob(hidden, head, input("targets", "i32", [rows]));
          return { loss: loss(context), logprob };
        },
      },
      /^own\.loss: logprob: expected a number to report, f32\(1\), or a `metrics` function that computes one from it, got f32\(16\)$/,
    ],
    [
      "metrics that are strings",
      { metrics: () => ({ b: 1, accuracy: "high" }) },
      /^own\.metrics: accuracy: expected a number, got "high"$/,
    ],
    ["metrics in an array", { metrics: () => [1] }, /^own\.metrics: expected an object of numbers, got \[1\]$/],
    [
      "asynchronous metrics",
      { metrics: async () => ({ accuracy: 1 }) },
      /^own\.metrics: expected an object of numbers, got a Promise$/,
    ],
    [
      "count returning 0",
      { count: () => 0 },
      /^own\.count: expected at least one counted position in the batches of a step, got 0$/,
    ],
    [
      "collate and count that disagree",
      { count: () => 3 },
      /^own\.collate: counted: expected 3, as own\.count returns for the batch, got 14$/,
    ],
    ["an empty name", { name: "" }, /^stage: expected an object with name/],
  ])("rejects %s", async (_, parts, message) => {
    expect(await refused(parts)).toMatch(message);
  });

  test("passes outputs that are not single numbers to metrics", async () => {
    const both = (context: LossContext) => {
      const { hidden, head } = context.forward();
      const { logprob } = tokenLogprob(hidden, head, input("targets", "i32", [rows]));
      return { loss: loss(context), logprob };
    };
    const metrics = (outputs: readonly Record<string, ArrayLike<number>>[]) => ({ rows: outputs[0]!.logprob!.length });
    const [step] = await run({ loss: both, metrics }, { maxSteps: 1 });
    expect(step?.metrics).toEqual({ rows });
  });

  test("passes on the exceptions that the stage's functions throw", async () => {
    const mine = new RangeError("mine");
    const collate = () => {
      throw mine;
    };
    await expect(run({ collate })).rejects.toBe(mine);
  });
});

test("rejects batches of no sequences, and sequences longer than the model's context", async () => {
  expect(await refused({}, { sequenceLength: 200 })).toBe(
    "sequenceLength: expected at most the model's 128 positions, got 200",
  );
  expect(await refused({}, { sequences: 0 })).toBe("sequences: expected a whole number of at least 1, got 0");
});

describe("readRows", () => {
  const folder = temporaryFolder();
  test("yields rows of files and of memory with their locations, and names an invalid row", async () => {
    const path = join(folder, "rows.jsonl");
    await writeFile(path, '{"text":"a"}\n\n{"text":"b"}\n');
    const of = async (source: Parameters<typeof readRows>[0]) => {
      const out: unknown[] = [];
      for await (const { value, where } of readRows(source)) out.push([value.text, where]);
      return out;
    };
    expect(await of(path)).toEqual([
      ["a", `${path}:1`],
      ["b", `${path}:3`],
    ]);
    expect(await of([{ text: "c" }])).toEqual([["c", "data: row 1"]]);
    await writeFile(path, '{"text":"a"}\n[1]\n');
    expect(await failureOf(() => readRows(path))).toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(/rows\.jsonl:2: expected a JSON object/),
    });
  });
});
