import type { Calibration } from "../metrics/calibration.ts";

/** The stages in their order. `classify` trains a generative and a discriminative classifier from the same pretrained weights. */
export const stageNames = ["tokenizer", "pretrain", "sft", "dpo", "reward", "grpo", "classify"] as const;
/** A stage of `lifecycle`. @experimental @useDeclaredType */
export type StageName = (typeof stageNames)[number];

/** Held-out metrics that apply to a stage. Shares are between 0 and 1. @experimental */
export interface StageMetrics {
  /** Bits per byte of held-out stories and knowledge. */
  bitsPerByte?: number;
  /** Share of statements, in wordings never trained on, that are completed with the correct capital. */
  capitals?: number;
  /** Share of exact answers to questions about facts that training asked for, in wordings that training did not have. */
  exactMatch?: number;
  /** Share of questions about made-up countries that are not declined. */
  inventedRate?: number;
  /**
   * Share of exact answers to all answerable questions, including those about countries that no training data asks
   * about.
   */
  answerableExactMatch?: number;
  /** Expected calibration error of the answers. */
  ece?: number;
  /** Share of held-out pairs for which the reward model prefers the better answer. */
  rewardAccuracy?: number;
  /** Share of correct labels of the discriminative classifier. */
  accuracy?: number;
}

/** The result of a stage. @experimental */
export interface StageResult {
  /** The stage. */
  name: StageName;
  /** Number of optimizer steps. */
  steps: number;
  /** Duration of the training. */
  seconds: number;
  /** Number of tokens that the stage trained on. */
  tokens: number;
  /** Measurements of the model before and after the stage. */
  metrics: { before: StageMetrics; after: StageMetrics };
}

/** The result of a run, which `heddle lifecycle --json` prints last. @experimental */
export interface LifecycleResult {
  /** The results of all stages except `classify`. */
  stages: StageResult[];
  /** Goals that the figures miss, such as "answers 1.2 % of the questions exactly"; empty if all are reached. */
  missed: string[];
  /** The path of report.html. */
  report: string;
}

/** Progress of a run. `secondsLeft` is the estimated remaining time; undefined before enough steps are complete. @experimental */
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
  /** Share of correct answers to questions about countries that training never asks about. */
  newCountries?: number;
  /** Share of answerable questions that the model declined. */
  wronglyDeclined?: number;
  /** Share of multiple-choice questions answered correctly by log-likelihood. */
  choice?: number;
  calibration?: Pick<Calibration, "ece" | "eceInterval" | "bins" | "count">;
  samples: Sample[];
  /** Likeliest next tokens of "The capital of France is". */
  candidates: { text: string; probability: number }[];
}

/** A prompt with the model's text, shown in the report. */
export interface Sample {
  prompt: string;
  kind: "continue" | "ask";
  text: string;
  /**
   * Whether the answer is right, wrong, wrongly declined, or invented. Declining an unanswerable question is right.
   * Undefined for a continuation, which is not judged.
   */
  verdict?: "right" | "wrong" | "declined" | "invented";
}

/** A point of a loss curve, from a stage's `log.jsonl`. */
export interface LossPoint {
  step: number;
  loss: number;
  /** Seconds of training so far, including interrupted runs. */
  seconds: number;
}

/**
 * Comparison of two kinds of classifier from the same pretrained weights: accuracy before and after training, and
 * example texts with the answers of both.
 */
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
