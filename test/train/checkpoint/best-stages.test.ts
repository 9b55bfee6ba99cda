// Every stage ends with the weights of its best evaluation. If it trains an adapter, these are the adapter's tensors.
import { expect, test } from "vitest";
import type { StageName } from "../../../lib/cli/options/stage-table.ts";
import type { Run } from "../../../lib/core/run.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import type { EvalEvent, TrainEvent, TrainResult } from "../../../lib/train/loop/trainer.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { ppo } from "../../../lib/train/stages/ppo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { simpo } from "../../../lib/train/stages/simpo.ts";
import { sentences } from "../../inference/helpers.ts";
import { type bestRun, newModel, weightsOf } from "./best-run.ts";

const words = sentences.slice(0, 24).map((text) => text.split(" "));
const pairs = words.map((w, i) => ({
  prompt: w.slice(0, 3).join(" "),
  chosen: ` ${w[i % 5]} ${i}`,
  rejected: ` ${w.slice(2, 5 + (i % 3)).join(" ")}`,
}));
const rewards = [({ completions }: { completions: readonly string[] }) => completions.map((text) => text.length / 10)];
const answers = { prompts: pairs.map(({ prompt }) => ({ prompt })), rewards, maxCompletionLength: 4 };
type Common = Omit<NonNullable<Parameters<typeof bestRun>[2]>, "data" | "evalData" | "packing">;
type Start = (base: LanguageModel, common: Common & { maxSteps: number }) => Run<TrainEvent, TrainResult>;
const stages: Record<Exclude<StageName, "pretrain">, Start> & Record<string, Start> = {
  sft: (base, common) => sft(base, { ...common, data: sentences.map((text) => ({ text })) }),
  "sft, an adapter": (base, common) =>
    sft(base, { ...common, data: sentences.map((text) => ({ text })), lora: { r: 2 } }),
  dpo: (base, common) => dpo(base, { ...common, data: pairs }),
  kto: (base, common) =>
    kto(base, {
      ...common,
      data: pairs.map((p, i) => ({ prompt: p.prompt, completion: p.chosen, label: i % 2 === 0 })),
    }),
  orpo: (base, common) => orpo(base, { ...common, data: pairs }),
  simpo: (base, common) => simpo(base, { ...common, data: pairs }),
  reward: (base, common) => trainReward(base, { ...common, data: pairs }),
  grpo: (base, common) => grpo(base, { ...common, ...answers, numGenerations: 2 }),
  ppo: (base, common) => ppo(base, { ...common, ...answers }),
  classify: (base, common) =>
    trainClassifier(base, { ...common, data: sentences.map((text, i) => ({ text, label: ["a", "b"][i % 2]! })) }),
  embed: (base, common) =>
    trainEmbedding(base, {
      ...common,
      data: pairs.map(({ prompt, chosen }) => ({ anchor: prompt, positive: chosen })),
    }),
};

test.each(Object.keys(stages))("%s ends with the weights and adapters of its best evaluation", async (name) => {
  await using base = await newModel();
  const seen: Map<string, Float32Array>[] = [];
  const run = stages[name]!(base, {
    maxSteps: 3,
    perDeviceTrainBatchSize: 4,
    learningRate: 1e-2,
    lrScheduler: "constant",
    evalSteps: 1,
    loadBestModelAtEnd: true,
    metricForBestModel: "score",
    async evaluate({ step }) {
      seen.push(await weightsOf(base));
      return { score: 9 - Math.abs(step - 2) };
    },
  });
  const evaluations: EvalEvent[] = [];
  for await (const event of run) if (!("loss" in event)) evaluations.push(event);
  expect(evaluations.map(({ step, metrics }) => [step, metrics!.score])).toEqual([
    [1, 8],
    [2, 9],
    [3, 8],
  ]);
  expect(await run).toMatchObject({ steps: 3, bestStep: 2, evalMetrics: { score: 9 } });
  const now = await weightsOf(base);
  const changed = [...now.keys()].filter((key) => !same(seen[1]!.get(key)!, seen[2]!.get(key)!));
  expect(changed.length).toBeGreaterThan(0);
  if (name.includes("adapter")) expect(changed.every((key) => key.includes("lora_"))).toBe(true);
  expect([...now.keys()].filter((key) => !same(now.get(key)!, seen[1]!.get(key)!))).toEqual([]);
});

const same = (a: Float32Array, b: Float32Array) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
