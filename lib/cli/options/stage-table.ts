// The stages of `heddle train`, in the order of its help. A row contains everything that the command needs for a stage.
import type { z } from "zod";
import type { LossUnit } from "../terminal/train-progress.ts";
import type { StageFunction } from "./train-stage.ts";

/** A stage's description, the unit of its loss, and its function. */
export interface StageRow {
  about: string;
  unit: LossUnit;
  load(): Promise<{ run: StageFunction; schema: z.ZodObject }>;
}

const natsPerToken: LossUnit = { loss: " nats per token", counted: "tokens" };

/** All stages that a configuration file can run, by name. */
export const stages = {
  pretrain: {
    about: "next-token prediction on raw text",
    unit: natsPerToken,
    load: async () => {
      const { pretrain: run, pretrainSchema: schema } = await import("../../train/stages/pretrain.ts");
      return { run, schema };
    },
  },
  sft: {
    about: "supervised fine-tuning on conversations, prompts with completions, or texts",
    unit: natsPerToken,
    load: async () => {
      const { sft: run, sftSchema: schema } = await import("../../train/stages/sft.ts");
      return { run, schema };
    },
  },
  classify: {
    about: "a classification head on labeled texts or words",
    unit: { loss: "", counted: "labels" }, // the loss is in nats, or a squared error
    load: async () => {
      const { trainClassifier: run, classifySchema: schema } = await import("../../train/stages/classify.ts");
      return { run, schema };
    },
  },
  embed: {
    about: "text embeddings from pairs of related texts",
    unit: { loss: " nats per pair", counted: "pairs" },
    load: async () => {
      const { trainEmbedding: run, embedSchema: schema } = await import("../../train/stages/embed.ts");
      return { run, schema };
    },
  },
  reward: {
    about: "a reward model on pairs of a better and a worse answer",
    unit: { loss: " nats per pair", counted: "pairs" },
    load: async () => {
      const { trainReward: run, rewardSchema: schema } = await import("../../train/stages/reward.ts");
      return { run, schema };
    },
  },
  dpo: {
    about: "direct preference optimization on pairs of a better and a worse answer",
    unit: { loss: "", counted: "pairs" }, // the loss types have no common unit
    load: async () => {
      const { dpo: run, dpoSchema: schema } = await import("../../train/stages/dpo.ts");
      return { run, schema };
    },
  },
  kto: {
    about: "Kahneman–Tversky optimization on answers labeled good or bad",
    unit: { loss: "", counted: "answers" },
    load: async () => {
      const { kto: run, ktoSchema: schema } = await import("../../train/stages/kto.ts");
      return { run, schema };
    },
  },
  orpo: {
    about: "odds-ratio preference optimization on pairs, without a reference model",
    unit: { loss: "", counted: "pairs" },
    load: async () => {
      const { orpo: run, orpoSchema: schema } = await import("../../train/stages/orpo.ts");
      return { run, schema };
    },
  },
  simpo: {
    about: "simple preference optimization on pairs, without a reference model",
    unit: { loss: " nats per pair", counted: "pairs" },
    load: async () => {
      const { simpo: run, simpoSchema: schema } = await import("../../train/stages/simpo.ts");
      return { run, schema };
    },
  },
  ppo: {
    about: "proximal policy optimization of the model's own answers, with a value head",
    unit: { loss: "", counted: "tokens of answers" },
    load: async () => {
      const { ppo: run, ppoSchema: schema } = await import("../../train/stages/ppo.ts");
      return { run, schema };
    },
  },
  grpo: {
    about: "group-relative policy optimization of the model's own answers",
    unit: { loss: "", counted: "tokens of answers" },
    load: async () => {
      const { grpo: run, grpoSchema: schema } = await import("../../train/stages/grpo.ts");
      return { run, schema };
    },
  },
} as const satisfies Record<string, StageRow>;

/** The name of a stage that a configuration file can run. */
export type StageName = keyof typeof stages;

/**
 * Returns the unit of a stage's held-out loss.
 * @param lossType loss type of grpo. The default, dapo, averages over tokens. The others average over answers
 */
export function lossUnit(stage: StageName, lossType?: unknown): LossUnit {
  const countsAnswers = stage === "grpo" && lossType !== undefined && lossType !== "dapo";
  return countsAnswers ? { loss: "", counted: "answers" } : stages[stage].unit;
}
