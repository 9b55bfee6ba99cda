// Every stage supports a world: two ranks in one process make the updates of one process with the whole batch.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Run } from "../../../lib/core/run.ts";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import type { TrainEvent, TrainResult } from "../../../lib/train/loop/trainer.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { ppo } from "../../../lib/train/stages/ppo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { gather, type World } from "../../../lib/train/world/world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { worlds } from "./worlds.ts";

const STEPS = 4;
const words = sentences.slice(0, 24).map((text) => text.split(" "));
const pairs = words.map((w, i) => ({
  prompt: w.slice(0, 3).join(" "),
  chosen: ` ${w[i % 5]} ${i}`,
  rejected: ` ${w.slice(2, 5 + (i % 3)).join(" ")}`,
}));
const rated = pairs.map(({ prompt, chosen, rejected }, i) => ({
  prompt,
  completion: i % 2 ? chosen : rejected,
  label: i % 2 === 1,
}));
const labelled = sentences.slice(0, 24).map((text, i) => ({ text, label: ["cat", "dog", "bird"][i % 3]! }));
const anchors = pairs.map(({ prompt, chosen }) => ({ anchor: prompt, positive: chosen }));
const prompts = pairs.map(({ prompt }, i) => ({ prompt, wanted: i % 2 ? "a" : "o" }));
const letterReward = ({
  completions,
  wanted,
}: {
  completions: readonly string[];
  [column: string]: readonly unknown[];
}) => completions.map((text, i) => text.split(wanted![i] as string).length - 1 + text.length / 100);

interface Shared {
  world?: World | undefined;
  maxSteps: number;
  perDeviceTrainBatchSize: number;
  gradientAccumulationSteps: number;
  learningRate: number;
  seed: number;
  dtype: "f32";
  outputDir?: string;
  resume?: "auto";
  lrScheduler?: "constant";
}
type Start = (base: LanguageModel, shared: Shared) => Run<TrainEvent, TrainResult>;

const stages: Record<string, Start> = {
  dpo: (base, shared) => dpo(base, { ...shared, data: pairs, evalFraction: 0.2, rpoAlpha: 0.5 }),
  kto: (base, shared) => kto(base, { ...shared, data: rated }),
  orpo: (base, shared) => orpo(base, { ...shared, data: pairs }),
  reward: (base, shared) => trainReward(base, { ...shared, data: pairs }),
  classify: (base, shared) => trainClassifier(base, { ...shared, data: labelled, evalFraction: 0.2 }),
  embed: (base, shared) => trainEmbedding(base, { ...shared, data: anchors }),
  grpo: (base, shared) =>
    grpo(base, {
      ...shared,
      data: prompts,
      evalPrompts: prompts.slice(0, 3),
      rewards: [letterReward],
      numGenerations: 2,
      maxCompletionLength: 6,
      numIterations: 2,
      scaleRewards: "batch",
      beta: 0.05,
    }),
  "grpo, a rollout for several steps": (base, shared) =>
    grpo(base, {
      ...shared,
      data: prompts,
      rewards: [letterReward],
      numGenerations: 2,
      maxCompletionLength: 6,
      stepsPerGeneration: 2 * shared.gradientAccumulationSteps,
    }),
  ppo: (base, shared) =>
    ppo(base, {
      ...shared,
      data: prompts,
      rewards: [letterReward],
      maxCompletionLength: 6,
      numPpoEpochs: 2,
      numMiniBatches: 2,
      whitenRewards: true,
      klTarget: 0.1,
      klHorizon: 50,
    }),
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-worlds-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function runStage(start: Start, accumulate: number, more: Partial<Shared> = {}) {
  await using base = tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1 });
  const events: TrainEvent[] = [];
  const run = start(base, {
    maxSteps: STEPS,
    perDeviceTrainBatchSize: 4,
    gradientAccumulationSteps: accumulate,
    learningRate: 1e-3,
    seed: 5,
    dtype: "f32",
    ...more,
  });
  for await (const event of run) events.push(event);
  const weight = await base.model.weight("model.layers.1.mlp.up_proj.weight").toFloat32();
  // Speed differs between runs.
  return { events: events.map((event) => ({ ...event, tokensPerSecond: 0 })), weight };
}

/** Removes KTO's means over good and over bad answers, which each rank computes over its rows. */
function withoutRankMetrics(event: TrainEvent): TrainEvent {
  const { rewardChosen: _, rewardRejected: __, rewardMargin: ___, ...metrics } = event.metrics ?? {};
  return "kl" in metrics && !("reward" in metrics) ? { ...event, metrics } : event;
}

/** Compares the numbers of both, one by one. */
function expectNear(got: unknown, expected: unknown, place = "event"): void {
  if (typeof expected === "number") {
    expect(Math.abs((got as number) - expected), `${place}: ${got}, ${expected}`).toBeLessThan(
      1e-4 * Math.max(0.01, Math.abs(expected)),
    );
  } else if (typeof expected === "object" && expected !== null) {
    expect(Object.keys(got as object).sort(), place).toEqual(Object.keys(expected).sort());
    for (const [key, value] of Object.entries(expected))
      expectNear((got as Record<string, unknown>)[key], value, `${place}.${key}`);
  } else expect(got, place).toEqual(expected);
}

describe.each(Object.keys(stages))("%s", (name) => {
  test("two ranks make the same updates as one process with the whole batch", async () => {
    const alone = await runStage(stages[name]!, 2);
    const [first, second] = await Promise.all(worlds(2).map((world) => runStage(stages[name]!, 1, { world })));
    expect(alone.events.length).toBeGreaterThanOrEqual(STEPS);
    expect(second).toEqual(first);
    expectNear(first!.events.map(withoutRankMetrics), alone.events.map(withoutRankMetrics));
    const difference = Math.hypot(...alone.weight.map((v, i) => v - first!.weight[i]!));
    expect(difference / Math.hypot(...alone.weight)).toBeLessThan(1e-5);
  });
});

test("a partly used rollout continues on every rank from the checkpoint of rank 0", async () => {
  const start = stages["grpo, a rollout for several steps"]!;
  // Another schedule of learning rates would depend on maxSteps.
  const more = { lrScheduler: "constant", resume: "auto" } as const;
  const part = (maxSteps: number, name: string) =>
    Promise.all(
      worlds(2).map((world) =>
        // Rank 0 writes; the other rank only reads.
        runStage(start, 1, { ...more, world, maxSteps, outputDir: join(folder, name) }),
      ),
    );
  const through = await part(STEPS, "through");
  await part(3, "half");
  const rest = await part(STEPS, "half");
  expect(rest[0]!.events.at(-1)).toMatchObject({
    step: STEPS,
    loss: (through[0]!.events.at(-1) as { loss: number }).loss,
  });
  expect(rest[1]!.weight).toEqual(through[0]!.weight);
});

test("gather gives every rank all ranks' data, of any length", async () => {
  const given = [{ text: "日本", list: [1, 2.5, null] }, {}, { more: "x".repeat(3000) }];
  for (const found of await Promise.all(worlds(3).map((world) => gather<object>(world, given[world.rank]!))))
    expect(found).toEqual(given);
});
