// Two trainers in one process, over halves of the data, equal one trainer over all of it.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import type { World } from "../../../lib/train/world/world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { worlds } from "./worlds.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-world-"));
  await writeFile(join(folder, "train.txt"), sentences.join("\n\n"));
  await writeFile(join(folder, "held.txt"), sentences.slice(0, 5).join("\n\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.05 });
const options = (more: Partial<PretrainOptions> = {}): PretrainOptions => ({
  data: join(folder, "train.txt"),
  maxSteps: 8,
  perDeviceTrainBatchSize: 2,
  maxSeqLength: 24,
  learningRate: 3e-3,
  seed: 4,
  replay: { data: join(folder, "held.txt"), perDeviceTrainBatchSize: 1 },
  ...more,
});

async function losses(base: LanguageModel, given: PretrainOptions): Promise<number[]> {
  const out: number[] = [];
  for await (const event of pretrain(base, given)) if ("loss" in event) out.push(event.loss);
  return out;
}

test("two ranks make the same steps as one process with two micro-batches; rank 0 writes, and all ranks resume", async () => {
  await using alone = await newModel();
  const expected = await losses(alone, options({ gradientAccumulationSteps: 2, replay: undefined }));
  const run = async (world: World, name: string, more: Partial<PretrainOptions> = {}) => {
    await using base = await newModel();
    const given = options({ world, replay: undefined, outputDir: join(folder, name), ...more });
    const found = await losses(base, given);
    const weight = await base.model.weight("model.layers.1.mlp.up_proj.weight").toFloat32();
    return { losses: found, weight };
  };
  const [first, second] = worlds(2);
  const [a, b] = await Promise.all([run(first!, "rank-0"), run(second!, "rank-1")]);
  expect(a.losses).toEqual(b.losses);
  expect(a.weight).toEqual(b.weight);
  for (const [i, loss] of expected.entries()) expect(Math.abs(a.losses[i]! / loss - 1)).toBeLessThan(1e-5);
  const whole = await alone.model.weight("model.layers.1.mlp.up_proj.weight").toFloat32();
  expect(Math.hypot(...whole.map((v, i) => v - a.weight[i]!))).toBeLessThan(1e-4 * Math.hypot(...whole));
  expect(existsSync(join(folder, "rank-1"))).toBe(false);
  expect(await readdir(join(folder, "rank-0"))).toEqual(expect.arrayContaining(["checkpoint-8", "model.safetensors"]));
  await using loaded = await LanguageModel.load(join(folder, "rank-0"));
  expect(loaded.card?.tokensSeen).toBe(8 * 2 * 2 * 24);

  // A run of four steps, resumed by both ranks from rank 0's checkpoint for the other four.
  const half = { maxSteps: 4, lrScheduler: "constant" as const };
  await Promise.all(worlds(2).map((world) => run(world, "half", half)));
  const rest = { ...half, maxSteps: 8, resume: true };
  const resumed = await Promise.all(worlds(2).map((world) => run(world, "half", rest)));
  const through = await Promise.all(worlds(2).map((world, r) => run(world, `through-${r}`, { ...half, maxSteps: 8 })));
  expect(resumed[0]!.losses).toEqual(through[0]!.losses.slice(4));
  expect(resumed[1]!.weight).toEqual(through[0]!.weight);
});

test("ranks that would start from different checkpoints or options all fail, and the error names the ranks", async () => {
  const run = async (world: World, more: Partial<PretrainOptions>) => {
    await using base = await newModel();
    return await losses(base, options({ world, replay: undefined, lrScheduler: "constant", ...more }));
  };
  const outputDir = join(folder, "from");
  const short = { outputDir, maxSteps: 4, saveSteps: 2, saveTotalLimit: 2 };
  await Promise.all(worlds(2).map((world) => run(world, short)));
  const start = (of: (rank: number) => Partial<PretrainOptions>) =>
    Promise.all(worlds(3).map((world) => run(world, of(world.rank)).catch((error) => error)));
  const next = (name: string) => ({ outputDir: join(folder, name), maxSteps: 6, allowChangedOptions: true });
  const apart = await start((rank) => ({
    ...next("apart"),
    resume: join(outputDir, `checkpoint-${rank === 1 ? 2 : 4}`),
  }));
  for (const error of apart)
    expect(error).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(
        /^resume: expected the same checkpoint on all ranks, got step 4 \(\S+\) on ranks 0, 2; step 2 \(\S+\) on rank 1; /,
      ),
    });
  const fresh = await start((rank) => ({
    ...next("fresh"),
    ...(rank === 2 && { resume: join(outputDir, "checkpoint-2") }),
  }));
  for (const error of fresh) expect(error.message).toMatch(/got no checkpoint on ranks 0, 1; step 2 \(\S+\) on rank 2/);
  const rates = await start((rank) => ({ learningRate: rank === 2 ? 1e-3 : 2e-3, maxSteps: 1 }));
  for (const error of rates)
    expect(error).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "learningRate: expected the same value on all ranks, got 0.002 on ranks 0, 1; 0.001 on rank 2",
    });
});

test("a signal of one rank stops all ranks within an evaluation, and rank 0 saves the step before it", async () => {
  const controller = new AbortController();
  const outputDir = join(folder, "evaluating");
  const run = async (world: World) => {
    await using base = await newModel();
    const seen: string[] = [];
    const evalData = join(folder, "held.txt");
    const signal = world.rank === 1 ? controller.signal : undefined;
    const given = options({ world, outputDir, evalData, evalSteps: 1, loggingSteps: 1, signal, replay: undefined });
    const work = async () => {
      for await (const event of pretrain(base, given)) {
        seen.push(`${"loss" in event ? "step" : "evaluation"} ${event.step}`);
        if (world.rank === 1 && seen.at(-1) === "step 2") controller.abort();
      }
    };
    const error = await work().catch((error) => error);
    return { code: error?.code, seen };
  };
  const stopped = { code: "ABORTED", seen: ["step 1", "evaluation 1", "step 2"] };
  expect(await Promise.all(worlds(2).map(run))).toEqual([stopped, stopped]);
  expect(await readdir(outputDir)).toContain("checkpoint-2");
});

test("two ranks replay different rows, and have the losses of one process that replays both", async () => {
  const run = async (more: Partial<PretrainOptions>) => {
    await using base = await newModel();
    const replay = { data: join(folder, "held.txt"), perDeviceTrainBatchSize: more.world ? 1 : 2 };
    const seen: number[][] = [];
    for await (const event of pretrain(base, options({ replay, maxSteps: 3, ...more })))
      if ("loss" in event) seen.push([event.loss, event.metrics!.replayLoss!]);
    return seen.flat();
  };
  const [a, b] = await Promise.all(worlds(2).map((world) => run({ world })));
  expect(a).toEqual(b);
  const alone = await run({ gradientAccumulationSteps: 2 });
  for (const [i, loss] of alone.entries()) expect(Math.abs(a![i]! / loss - 1)).toBeLessThan(1e-5);
});

test("two ranks of sft have the loss of one process with the whole batch", async () => {
  const data = sentences.slice(0, 12).map((text) => ({ text }));
  const tune = async (world: World | undefined, gradientAccumulationSteps: number) => {
    await using base = await newModel();
    const shape = {
      data,
      maxSteps: 3,
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps,
      learningRate: 1e-3,
      seed: 1,
    };
    return (await sft(base, { ...shape, world })).loss;
  };
  const whole = await tune(undefined, 2);
  for (const loss of await Promise.all(worlds(2).map((world) => tune(world, 1))))
    expect(Math.abs(loss / whole - 1)).toBeLessThan(1e-5);
});
