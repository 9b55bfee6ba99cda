// Defaults that no schema can say: they depend on the stage and on other options. What runs and what `--help` prints read them here.

/** Optimiser steps between checkpoints where saveSteps is not given, as in transformers' Trainer. */
export const DEFAULT_SAVE_STEPS = 500;

/** Peaks of the learning rate by stage: of an adapter, which begins as no change at all, and of the weights themselves. */
export const LEARNING_RATES = {
  sft: { lora: 1e-4, weights: 2e-5 },
  reward: { lora: 1e-3, weights: 1e-4 },
  dpo: { lora: 1e-5, weights: 1e-6 },
  kto: { lora: 1e-5, weights: 1e-6 },
  orpo: { lora: 1e-5, weights: 1e-6 },
  ppo: { lora: 3e-5, weights: 3e-6 },
  grpo: { lora: 1e-5, weights: 1e-6 },
} as const;

/** The peak of a run: what is asked for, or the stage's own. */
export function learningRateOf(
  stage: keyof typeof LEARNING_RATES,
  { learningRate, lora }: { learningRate?: number | undefined; lora?: object | undefined },
): number {
  return learningRate ?? LEARNING_RATES[stage][lora ? "lora" : "weights"];
}
