import type { Calibration } from "../metrics/calibration.ts";

/** The stages in their order. `classify` compares the two kinds of model on one trunk. */
export const stageNames = ["tokenizer", "pretrain", "sft", "dpo", "reward", "grpo", "classify"] as const;
/** A stage of the lesson. @useDeclaredType */
export type StageName = (typeof stageNames)[number];

/** Held-out figures, as far as they apply; shares are between 0 and 1. @experimental */
export interface StageMetrics {
  /** Bits per byte of held-out stories and knowledge. */
  bitsPerByte?: number;
  /** Share of capitals that complete a statement in a wording never trained on. */
  capitals?: number;
  /** Share of exact answers to questions about facts that were asked for in training, in wordings that were not. */
  exactMatch?: number;
  /** Share of questions about made-up countries that are not declined. */
  inventedRate?: number;
  /** Share of exact answers to every question that has one: also about countries that no training data ask about. */
  answerableExactMatch?: number;
  /** Expected calibration error of the answers. */
  ece?: number;
  /** Share of held-out pairs for which the reward model prefers the better answer. */
  rewardAccuracy?: number;
  /** Share of correct labels of the classifiers. */
  accuracy?: number;
}

/** A stage in the result. @experimental */
export interface StageResult {
  name: StageName;
  steps: number;
  seconds: number;
  tokens: number;
  metrics: { before: StageMetrics; after: StageMetrics };
}

/** The final line of `heddle lifecycle --json`. @experimental */
export interface LifecycleResult {
  stages: StageResult[];
  /** Goals of the lesson that the figures miss, such as "answers 1.2 % of the questions exactly"; empty if all are reached. */
  missed: string[];
  /** The path of report.html. */
  report: string;
}

/** Progress of a run. `secondsLeft` estimates the remaining time from completed steps, and is undefined before there are any. @experimental */
export type LifecycleEvent =
  | { type: "stage"; stage: StageName; maxSteps: number; secondsLeft: number | undefined }
  | {
      type: "step";
      stage: StageName;
      step: number;
      maxSteps: number;
      loss: number;
      tokensPerSecond: number;
      secondsLeft: number | undefined;
    }
  | { type: "evaluation"; stage: StageName; secondsLeft: number | undefined }
  | { type: "done"; stage: StageName; result: StageResult; secondsLeft: number | undefined };

/** A measurement of a model after a stage. */
export interface Measurement {
  metrics: StageMetrics;
  /** Further shares: of questions about new countries answered rightly, of answerable ones declined. */
  newCountries?: number;
  wronglyDeclined?: number;
  /** Share of multiple-choice questions answered correctly by log-likelihood. */
  choice?: number;
  calibration?: Pick<Calibration, "ece" | "eceInterval" | "bins" | "count">;
  samples: Sample[];
  /** Next tokens of "The capital of France is". */
  candidates: { text: string; probability: number }[];
}

export interface Sample {
  prompt: string;
  kind: "continue" | "ask";
  text: string;
  /** Right (that a country does not exist included), wrong, wrongly declined, or invented; undefined where nothing can be said. */
  verdict?: "right" | "wrong" | "declined" | "invented";
}

/** One point of a loss curve: what a stage's `log.jsonl` says of a step. */
export interface LossPoint {
  step: number;
  loss: number;
  /** Seconds of training so far, those of interrupted runs included. */
  seconds: number;
}

/** The two kinds of model on one trunk: right labels, before and after training, and one text as both see it. */
export interface Comparison {
  labels: string[];
  discriminative: { before: number; after: number };
  generative: { before: number; after: number };
  examples: {
    text: string;
    label: string;
    probabilities: Record<string, number>;
    generated: string;
  }[];
}
