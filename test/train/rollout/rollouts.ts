// Shared by tests of rollouts: prompts, a reward that is easy to learn, and options.

import type { RewardFunction } from "../../../lib/train/rollout/rewards.ts";
import type { GrpoOptions } from "../../../lib/train/stages/grpo.ts";
import type { PpoOptions } from "../../../lib/train/stages/ppo.ts";
import { isHeldOut, prompts } from "../classify/sentences.ts";

export const rows = (heldOut: boolean) => prompts.filter((p) => isHeldOut(p) === heldOut).map((prompt) => ({ prompt }));

/** Rewards the frequency of the letter e. */
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
