// Starts every stage except pretrain and sft, with a few rows or prompts.
import type { StageName } from "../../../lib/cli/options/stage-table.ts";
import type { Run } from "../../../lib/core/run.ts";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import type { TrainEvent, TrainResult } from "../../../lib/train/loop/trainer.ts";
import type { Sharding } from "../../../lib/train/options/optimizer-options.ts";
import { trainClassifier } from "../../../lib/train/stages/classify.ts";
import { dpo } from "../../../lib/train/stages/dpo.ts";
import { trainEmbedding } from "../../../lib/train/stages/embed.ts";
import { grpo } from "../../../lib/train/stages/grpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { ppo } from "../../../lib/train/stages/ppo.ts";
import { trainReward } from "../../../lib/train/stages/reward.ts";
import { simpo } from "../../../lib/train/stages/simpo.ts";
import type { World } from "../../../lib/train/world/world.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

export const STEPS = 4;
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
const labeled = sentences.slice(0, 24).map((text, i) => ({ text, label: ["cat", "dog", "bird"][i % 3]! }));
const anchors = pairs.map(({ prompt, chosen }) => ({ anchor: prompt, positive: chosen }));
const prompts = pairs.map(({ prompt }, i) => ({ prompt, wanted: i % 2 ? "a" : "o" }));
const letterReward = ({
  completions,
  wanted,
}: {
  completions: readonly string[];
  [column: string]: readonly unknown[];
}) => completions.map((text, i) => text.split(wanted![i] as string).length - 1 + text.length / 100);

export interface Shared {
  world?: World | undefined;
  sharding?: Sharding;
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
export type Start = (base: LanguageModel, shared: Shared) => Run<TrainEvent, TrainResult>;

export const stages: Record<Exclude<StageName, "pretrain" | "sft">, Start> & Record<string, Start> = {
  dpo: (base, shared) => dpo(base, { ...shared, data: pairs, evalFraction: 0.2, rpoAlpha: 0.5 }),
  kto: (base, shared) => kto(base, { ...shared, data: rated }),
  orpo: (base, shared) => orpo(base, { ...shared, data: pairs }),
  simpo: (base, shared) => simpo(base, { ...shared, data: pairs }),
  reward: (base, shared) => trainReward(base, { ...shared, data: pairs }),
  classify: (base, shared) => trainClassifier(base, { ...shared, data: labeled, evalFraction: 0.2 }),
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

/** Trains a new model. Returns the events, and the weights of a layer. */
export async function runStage(start: Start, accumulate: number, more: Partial<Shared> = {}) {
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
