import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { simpo } from "../../../examples/custom-objective.ts";
import { gatherRows, input, logSigmoid, mul, scale, sub, sum } from "../../../lib/graph/index.ts";
import { type DpoLoss, ExampleSource, type Stage, train } from "../../../lib/graph-entry.ts";
import { dpo, LanguageModel } from "../../../lib/index.ts";
import { isHeldOut, pairs, prompts, speakingModel, trainedTokenizer } from "../classify/sentences.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-objective-"));
  await (await speakingModel(await trainedTokenizer(), join(folder, "corpus.txt"), join(folder, "base"))).dispose();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const load = () => LanguageModel.load(join(folder, "base"));
const common = { maxSteps: 6, perDeviceTrainBatchSize: 8, learningRate: 1e-3, seed: 5, data: pairs(false) };

async function losses(run: ReturnType<typeof dpo>): Promise<number[]> {
  const out: number[] = [];
  for await (const event of run) if ("loss" in event) out.push(event.loss);
  return out;
}

test("the example's objective lowers its loss and prefers the chosen answers of held-out pairs", async () => {
  await using model = await load();
  const run = dpo(model, { ...common, maxSteps: 30, evalData: pairs(true), loss: simpo });
  const got = await losses(run);
  expect(got.at(-1)!).toBeLessThan(got[0]! / 2);
  expect((await run).evalMetrics!.rewardAccuracy).toBeGreaterThan(0.9);
});

test("DPO's formula as a custom objective gives DPO's losses", async () => {
  const own: DpoLoss = ({ chosen, rejected, referenceChosen, referenceRejected }) =>
    scale(logSigmoid(scale(sub(sub(chosen, referenceChosen), sub(rejected, referenceRejected)), 0.1)), -1);
  await using a = await load();
  await using b = await load();
  expect(await losses(dpo(a, { ...common, loss: own }))).toEqual(await losses(dpo(b, common)));
});

test("rejects an objective that does not return one value per pair", async () => {
  await using model = await load();
  const run = dpo(model, { ...common, loss: ({ chosen }) => sum(chosen) });
  await expect(run).rejects.toThrow(/^loss: expected a value f32\(8\), the loss of each pair, got f32\(1\)$/);
  // A function without a `return` must not train with DPO's formula.
  const forgotten = dpo(model, { ...common, loss: (() => {}) as never });
  await expect(forgotten).rejects.toThrow(/^loss: expected a value f32\(8\), the loss of each pair, got undefined$/);
});

test("an objective of the chosen answers alone raises their likelihood", async () => {
  await using model = await load();
  const got = await losses(dpo(model, { ...common, loss: ({ chosen }) => scale(chosen, -1) }));
  expect(got.at(-1)!).toBeLessThan(got[0]!);
});

test("a custom stage provides batches and a loss, and is trained like any other", async () => {
  await using model = await load();
  const tokenizer = model.tokenizer!;
  // Pulls the hidden state of a sequence's last token towards zero.
  const sequenceLength = 8;
  const examples = prompts.filter((p) => !isHeldOut(p)).map((p) => Int32Array.from(tokenizer.encode(p)));
  const stage: Stage<Int32Array[]> = {
    name: "quiet",
    count: (batch) => batch.length,
    collate(batch, total) {
      const ids = new Int32Array(4 * sequenceLength);
      for (const [i, given] of batch.entries()) ids.set(given, i * sequenceLength);
      const last = Int32Array.from({ length: 4 }, (_, i) => i * sequenceLength + (batch[i]?.length ?? 1) - 1);
      const weights = Float32Array.from({ length: 4 * 32 }, (_, i) => (i / 32 < batch.length ? 1 / total : 0));
      return { inputs: { ids, last, weights }, tokens: ids.length, counted: batch.length };
    },
    loss({ forward }) {
      const state = gatherRows(forward().hidden, input("last", "i32", [4]));
      return sum(mul(mul(state, state), input("weights", "f32", [4, 32])));
    },
  };
  const source = new ExampleSource(examples, { batchSize: 4, seed: 1, heldOut: examples.slice(0, 4) });
  const outputDir = join(folder, "quiet");
  const run = train(model, stage, source, {
    maxSteps: 40,
    learningRate: 3e-2,
    sequences: 4,
    sequenceLength,
    outputDir,
  });
  const got = await losses(run);
  expect(got.at(-1)!).toBeLessThan(got[0]! / 2);
  expect((await run).evalLoss).toBeLessThan(got[0]! / 2);
  await using loaded = await LanguageModel.load(outputDir);
  expect(loaded.card).toMatchObject({ stage: "quiet" });
});
