import { fullSize, quickSize, type RecipeSize } from "./recipe/recipe.ts";
import type { StageName } from "./types.ts";

/** The plan of one stage. */
export interface StagePlan {
  steps: number;
  /** About how long it takes on the two cores of the default budget, evaluation included: for the time that is left. */
  seconds: number;
}

/** A run of the lesson, laid down before it starts: a resumed run follows the same plan. */
export interface Plan {
  /** Name of the models, to which the stage is appended. */
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
  /** Positions of a sequence of pre-training, and of the model. */
  contextLength: number;
  stages: Record<StageName, StagePlan>;
}

/** Minutes that the steps below are for, on two cores: the default budget. */
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

/** The steps that fit a budget. Fewer steps than about half the reference's do not learn enough to show anything. */
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
