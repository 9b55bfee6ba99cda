import { percent } from "../../report/numbers.ts";
import type { StageMetrics, StageName } from "../types.ts";

/** The report's titles of stages. */
export const titles: Record<"random" | StageName, string> = {
  random: "Random weights",
  tokenizer: "Tokenizer",
  pretrain: "Pre-training",
  sft: "Fine-tuning (SFT)",
  dpo: "DPO",
  reward: "Reward model",
  grpo: "GRPO",
  classify: "Classifier",
};

/** Explains each stage to a newcomer. */
export const explanations: Record<StageName, string> = {
  tokenizer: "learns which pieces of text become tokens",
  pretrain: "predicts the next token of raw text, over and over: stories, facts, everyday things",
  sft: "learns to answer, from examples of questions and answers",
  dpo: "learns from pairs which of two answers is better, directly",
  reward: "a second model that learns to score answers from the same pairs",
  grpo: "answers many times, and moves towards what the reward model scores above the rest",
  classify: "the pretrained trunk with a head that gives every label a probability",
};

type Direction = "up" | "down";

/** For each metric: its title in the report, the direction of an improvement, and whether it is a share. */
export const metricInfo: Record<keyof StageMetrics, { title: string; better: Direction; share: boolean }> = {
  bitsPerByte: { title: "bits per byte", better: "down", share: false },
  capitals: { title: "capitals completed", better: "up", share: true },
  exactMatch: { title: "exact answers, unseen wordings", better: "up", share: true },
  answerableExactMatch: { title: "exact answers, new countries too", better: "up", share: true },
  inventedRate: { title: "invented answers", better: "down", share: true },
  ece: { title: "calibration error", better: "down", share: false },
  rewardAccuracy: { title: "better answer preferred", better: "up", share: true },
  accuracy: { title: "right labels", better: "up", share: true },
};

/** Formats the value of a metric; a dash for a missing or infinite value, or NaN. */
export function shown(name: keyof StageMetrics, value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return metricInfo[name].share ? percent(value) : value.toFixed(name === "ece" ? 3 : 2);
}

/** Formats a difference with its sign, unless all shown digits are zero. */
export function shownChange(name: keyof StageMetrics, difference: number): string {
  const { share } = metricInfo[name];
  const digits = share ? (100 * Math.abs(difference)).toFixed(1) : Math.abs(difference).toFixed(name === "ece" ? 3 : 2);
  const sign = Number(digits) === 0 ? "" : difference > 0 ? "+" : "−";
  return `${sign}${digits}${share ? " points" : ""}`;
}
