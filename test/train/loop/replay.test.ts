// Replay of an earlier stage's data in every stage: it is reported and affects training.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { StageName } from "../../../lib/cli/options/stage-table.ts";
import type { Run } from "../../../lib/core/run.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import type { TrainEvent, TrainResult } from "../../../lib/train/loop/trainer.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { stages as others, type Shared } from "./stage-table.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-replay-"));
  await writeFile(join(folder, "text.txt"), sentences.join("\n\n"));
  await writeFile(
    join(folder, "other.txt"),
    sentences.map((_, i) => `${i} = ${i * i}; ${i} + 1 = ${i + 1}`).join("\n\n"),
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const prompts = Array.from({ length: 8 }, (_, i) => `The ${["cat", "dog"][i % 2]} saw`);
const shared: Shared = {
  maxSteps: 3,
  perDeviceTrainBatchSize: 4,
  gradientAccumulationSteps: 1,
  learningRate: 2e-3,
  seed: 0,
  dtype: "f32",
};
type Given = Shared & {
  replay?: { stage?: "sft"; data: string; weight: number; maxSeqLength: number; textField?: string };
};

type Start = (base: LanguageModel, given: Given) => Run<TrainEvent, TrainResult>;
const stages: Record<StageName, Start> & Record<string, Start> = {
  pretrain: (base, given) => pretrain(base, { ...given, data: join(folder, "other.txt"), maxSeqLength: 16 }),
  sft: (base, given) => sft(base, { ...given, data: prompts.map((prompt) => ({ prompt, completion: " the sea" })) }),
  ...others,
};

const cases = Object.keys(stages).flatMap((name) => [
  [name, "a tied head", true] as const,
  [name, "a separate head", false] as const,
]);
test.each(cases)("%s, %s: replay is reported and changes what is learned", async (name, _, tieWordEmbeddings) => {
  const run = async (weight?: number) => {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1, tieWordEmbeddings });
    const replay = weight === undefined ? {} : { replay: { data: join(folder, "text.txt"), weight, maxSeqLength: 16 } };
    const reported: (number | undefined)[] = [];
    for await (const event of stages[name]!(base, { ...shared, ...replay }))
      if ("loss" in event) reported.push(event.metrics?.replayLoss);
    const listed = base.card?.data.map((one) => one.name) ?? [];
    expect(listed.includes("text.txt")).toBe(weight !== undefined);
    const weights = await base.model.weight("model.layers.1.mlp.up_proj.weight").toFloat32();
    return { reported, weights };
  };
  const [without, with_, unweighted] = [await run(), await run(1), await run(0)];
  expect(without.reported).toEqual([undefined, undefined, undefined]);
  for (const loss of with_.reported) expect(Math.abs(loss! - Math.log(320))).toBeLessThan(2);
  // With weight 0, the same batches are drawn but do not change the weights.
  expect(with_.reported[0]).toBe(unweighted.reported[0]);
  expect(with_.reported[2]!).toBeLessThan(unweighted.reported[2]! - 0.01);
  expect(with_.weights).not.toEqual(without.weights);
  expect(unweighted.weights).toEqual(without.weights);
});

const chat = (question: string, answer: string) => ({
  messages: [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ],
});

test("replayed chat rows train on their answers only, as in sft", async () => {
  const data = join(folder, "chats.jsonl");
  const row = chat("Who?", "Anna.");
  await writeFile(data, `${JSON.stringify(row)}\n`.repeat(3));
  const open = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1 });
  const first = async (run: Run<TrainEvent, TrainResult>) => {
    for await (const event of run) if ("loss" in event) return event;
    throw new Error("expected a step");
  };
  const one = { ...shared, maxSteps: 1 };
  await using tuned = await open();
  const { loss } = await first(sft(tuned, { ...one, data, maxSeqLength: 64 }));
  await using base = await open();
  const replay = { stage: "sft", data, weight: 1, maxSeqLength: 64 } as const;
  const { metrics } = await first(stages.grpo(base, { ...one, replay }));
  expect(metrics!.replayLoss).toBeCloseTo(loss, 5);
});

test("replay of chat rows rejects invalid rows, rows that are too long, and options of raw text", async () => {
  const data = join(folder, "broken.jsonl");
  await writeFile(data, `${JSON.stringify(chat("Who?", "Anna."))}\n{"messages": [{"content": "x"}]}\n`);
  const open = async () => tinyModel({ tokenizer: await tinyTokenizer() });
  const replay = { stage: "sft", data, weight: 1, maxSeqLength: 32 } as const;
  await using base = await open();
  const refused = (given: object) => expect(stages.dpo(base, { ...shared, replay: { ...replay, ...given } })).rejects;
  await refused({}).toThrow(/broken\.jsonl:2: messages\[0\]\.role: expected a role/);
  await writeFile(join(folder, "long.jsonl"), JSON.stringify(chat("Who? ".repeat(20), "Anna.")));
  await refused({ data: join(folder, "long.jsonl") }).toThrow(/long\.jsonl:1: row: expected at most maxSeqLength = 32/);
  await refused({ textField: "x" }).toThrow(/^replay\.textField: cannot be combined with stage "sft"$/);
  await refused({ data: [{ data, weight: 1 }] }).toThrow(/got corpora with weights/);
});
