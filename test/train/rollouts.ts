// What tests of rollouts share: a model that speaks, prompts, a reward that is easy to learn, and options for it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { LanguageModel } from "../../lib/generate/language-model.ts";
import type { GrpoOptions } from "../../lib/train/grpo.ts";
import type { PpoOptions } from "../../lib/train/ppo.ts";
import type { RewardFunction } from "../../lib/train/rollout/rewards.ts";
import type { EvalEvent, StepEvent, TrainEvent } from "../../lib/train/trainer.ts";
import { isHeldOut, prompts, speakingModel, trainedTokenizer } from "./sentences.ts";

/** A folder for a file of tests, with a model that was trained to speak. */
export function speaker() {
  const place = { folder: "", load: () => LanguageModel.load(join(place.folder, "base")) };
  beforeAll(async () => {
    place.folder = await mkdtemp(join(tmpdir(), "heddle-rollout-"));
    const at = (name: string) => join(place.folder, name);
    await (await speakingModel(await trainedTokenizer(), at("corpus.txt"), at("base"))).dispose();
  });
  afterAll(() => rm(place.folder, { recursive: true, force: true }));
  return place;
}

export const rows = (heldOut: boolean) => prompts.filter((p) => isHeldOut(p) === heldOut).map((prompt) => ({ prompt }));

/** The share of the letter e. */
export const letter: RewardFunction = ({ completions }) =>
  completions.map((text) => (text.match(/e/g)?.length ?? 0) / Math.max(1, text.length));

export const common = {
  prompts: rows(false),
  rewards: [letter],
  maxSteps: 20,
  perDeviceTrainBatchSize: 16,
  gradientAccumulationSteps: 2,
  numGenerations: 8,
  maxCompletionLength: 12,
  learningRate: 3e-3,
  warmupSteps: 2,
  seed: 5,
} satisfies GrpoOptions;

const { numGenerations: _, ...forPpo } = common;
export const ppoCommon = {
  ...forPpo,
  gradientAccumulationSteps: 1,
  numPpoEpochs: 2,
  maxSteps: 40,
} satisfies PpoOptions;

export async function eventsOf(run: AsyncIterable<TrainEvent>): Promise<{ steps: StepEvent[]; held: EvalEvent[] }> {
  const steps: StepEvent[] = [];
  const held: EvalEvent[] = [];
  for await (const event of run) "loss" in event ? steps.push(event) : held.push(event);
  return { steps, held };
}

export const lossesOf = async (run: AsyncIterable<TrainEvent>) => (await eventsOf(run)).steps.map(({ loss }) => loss);
