// Defaults that depend on the stage and on other options, so that a schema cannot hold them. Runs and `--help` read them here.

/** Optimiser steps between checkpoints if saveSteps is not given, as in transformers' Trainer. */
export const DEFAULT_SAVE_STEPS = 500;

/** Peak learning rates by stage: for an adapter, which starts as a zero update, and for the weights themselves. */
export const LEARNING_RATES = {
  sft: { lora: 1e-4, weights: 2e-5 },
  reward: { lora: 1e-3, weights: 1e-4 },
  dpo: { lora: 1e-5, weights: 1e-6 },
  kto: { lora: 1e-5, weights: 1e-6 },
  orpo: { lora: 1e-5, weights: 1e-6 },
  ppo: { lora: 3e-5, weights: 3e-6 },
  grpo: { lora: 1e-5, weights: 1e-6 },
} as const;

/** Returns the peak of a run: the given one, or the stage's default. */
export function learningRateOf(
  stage: keyof typeof LEARNING_RATES,
  { learningRate, lora }: { learningRate?: number | undefined; lora?: object | undefined },
): number {
  return learningRate ?? LEARNING_RATES[stage][lora ? "lora" : "weights"];
}
