import { fullSize, quickSize, type RecipeSize } from "./recipe/recipe.ts";
import type { StageName } from "./types.ts";

/** The plan of one stage. */
interface StagePlan {
  steps: number;
  /** Approximate duration on two CPU cores, including evaluation. It is used to estimate the remaining time. */
  seconds: number;
}

/** The plan of a run, which is fixed before the run starts. A resumed run follows the same plan. */
export interface Plan {
  /** Name prefix of the models. The stage's name is appended. */
  name: string;
  seed: number;
  budgetMinutes: number;
  quick: boolean;
  size: RecipeSize;
  vocabSize: number;
  model: {
    hiddenSize: number;
    intermediateSize: number;
    numHiddenLayers: number;
    numAttentionHeads: number;
    numKeyValueHeads: number;
  };
  /** Number of positions of a pre-training sequence, and the model's context length. */
  contextLength: number;
  stages: Record<StageName, StagePlan>;
}

/** The default budget in minutes. `reference` lists the steps for this budget. */
export const REFERENCE_MINUTES = 20;

const reference: Record<StageName, StagePlan> = {
  tokenizer: { steps: 0, seconds: 10 },
  pretrain: { steps: 1500, seconds: 630 },
  sft: { steps: 100, seconds: 40 },
  dpo: { steps: 140, seconds: 45 },
  reward: { steps: 150, seconds: 15 },
  grpo: { steps: 100, seconds: 90 },
  classify: { steps: 240, seconds: 60 },
};

/**
 * Returns the plan for a budget. With less than about half of the default steps, most answers of the models are wrong
 * (`shortBudget` warns about it).
 */
export function planOf(options: { seed: number; budgetMinutes: number; quick: boolean }): Plan {
  const { quick, budgetMinutes } = options;
  const share = budgetMinutes / REFERENCE_MINUTES;
  const scaled = (name: StageName): StagePlan => {
    const { steps, seconds } = reference[name];
    if (quick) return { steps: Math.min(steps, 4), seconds: 2 };
    return { steps: steps === 0 ? 0 : Math.max(4, Math.round(steps * share)), seconds: seconds * share };
  };
  const names = Object.keys(reference) as StageName[];
  return {
    name: "heddle-lifecycle",
    ...options,
    size: quick ? quickSize : fullSize,
    vocabSize: quick ? 512 : 4096,
    model: quick
      ? { hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 1, numAttentionHeads: 2, numKeyValueHeads: 1 }
      : { hiddenSize: 192, intermediateSize: 512, numHiddenLayers: 4, numAttentionHeads: 6, numKeyValueHeads: 3 },
    contextLength: quick ? 128 : 512,
    stages: Object.fromEntries(names.map((name) => [name, scaled(name)])) as Record<StageName, StagePlan>,
  };
}
