// Every stage ends with the weights of its best evaluation. If it trains an adapter, these are the adapter's tensors.
import { expect, test } from "vitest";
import type { StageName } from "../../../lib/cli/options/stage-table.ts";
import type { Run } from "../../../lib/core/run.ts";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import type { EvalEvent, TrainEvent, TrainResult } from "../../../lib/train/loop/trainer.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences } from "../../inference/helpers.ts";
import { stages as others, type Shared } from "../loop/stage-table.ts";
import { type bestRun, newModel, weightsOf } from "./best-run.ts";

type Common = Omit<NonNullable<Parameters<typeof bestRun>[2]>, "data" | "evalData" | "packing">;
type Start = (base: LanguageModel, common: Common & Shared) => Run<TrainEvent, TrainResult>;
const stages: Record<Exclude<StageName, "pretrain">, Start> & Record<string, Start> = {
  sft: (base, common) => sft(base, { ...common, data: sentences.map((text) => ({ text })) }),
  "sft, an adapter": (base, common) =>
    sft(base, { ...common, data: sentences.map((text) => ({ text })), lora: { r: 2 } }),
  ...others,
};

test.each(Object.keys(stages))("a stage ends with its best evaluation's weights and adapters: %s", async (name) => {
  await using base = await newModel();
  const seen: Map<string, Float32Array>[] = [];
  const run = stages[name]!(base, {
    maxSteps: 3,
    perDeviceTrainBatchSize: 4,
    gradientAccumulationSteps: 1,
    learningRate: 1e-2,
    seed: 0,
    dtype: "f32",
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
