import type { Run } from "../core/run.ts";
import { createModelAsync } from "../language-model/create.ts";
import { LanguageModel } from "../language-model/language-model.ts";
import { Tokenizer } from "../tokenizer/index.ts";
import type { TrainEvent, TrainResult } from "../train/loop/trainer.ts";
import { dpo } from "../train/stages/dpo.ts";
import { grpo } from "../train/stages/grpo.ts";
import { pretrain } from "../train/stages/pretrain.ts";
import { trainReward } from "../train/stages/reward.ts";
import { sft } from "../train/stages/sft.ts";
import { developmentScore } from "./evaluate.ts";
import type { EvaluationSets } from "./recipe/evaluation-sets.ts";
import type { StageName } from "./types.ts";
import type { Workspace } from "./workspace.ts";

/** Settings that the stages share. */
export interface Setting {
  work: Workspace;
  device?: string | undefined;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Sets for choosing checkpoints. Their made-up names occur nowhere else, and their new countries only in pre-training. */
  development: EvaluationSets;
  /** Overrides of a stage's options, for scripts/lifecycle/trial.ts. */
  trial?: Readonly<Record<string, unknown>>;
}

/** A running training and its model. The caller must call `dispose`. */
interface Training {
  model: LanguageModel;
  run: Run<TrainEvent, TrainResult>;
  dispose(): void;
}

/** A stage that trains a language model. */
export type TrainedStage = Exclude<StageName, "tokenizer" | "classify">;

/** Loads the model that a stage saved. */
export function modelAfter({ work, device, threads, signal }: Setting, stage: StageName): Promise<LanguageModel> {
  return LanguageModel.load(work.path(stage), { device, threads, ...(signal && { signal }) });
}

/** Creates a model with random weights. */
export async function newModel({ work, device, threads, signal }: Setting): Promise<LanguageModel> {
  const tokenizer = await Tokenizer.load(work.path("tokenizer"));
  const { model, contextLength, seed } = work.plan;
  const config = {
    modelType: "llama" as const,
    ...model,
    maxPositionEmbeddings: contextLength,
    tieWordEmbeddings: true,
  };
  return createModelAsync(config, { tokenizer, seed, device, threads, signal });
}

/** Publication date of countries-list 3.4.1, the source of all facts about countries. */
const CUT_OFF = "2026-07-14";
const countries = { source: "npm countries-list 3.4.1, in sentences of lib/lifecycle/recipe", license: "MIT" };
const own = { source: "the grammars and tables of lib/lifecycle/recipe", license: "MIT" };

const answering =
  "A very small model: it answers short questions about the capitals of countries and about everyday things, and continues stories like those of its training corpus. It is often wrong about everything else, including other stories.";

/** The data and the notes of each stage's model card. */
const cards: Record<TrainedStage, { data: { name: string; source: string; license: string }[]; notes: string }> = {
  pretrain: {
    data: [
      { name: "facts about countries", ...countries },
      { name: "stories", ...own },
      { name: "everyday knowledge", ...own },
    ],
    notes:
      "A base model: it continues text in the manner of its small corpus. It was not tuned to answer, to follow instructions or to decline; asked about what it does not know, it makes something up.",
  },
  sft: {
    data: [{ name: "questions and answers: capitals, everyday things, small talk", ...countries }],
    notes: "Fine-tuned to answer short questions. Asked about what it does not know, it mostly makes something up.",
  },
  dpo: {
    data: [{ name: "pairs of a better and a worse answer (DPO)", ...countries }],
    notes: `${answering} Tuned on pairs of answers to say "I don't know." when it does not know.`,
  },
  reward: {
    data: [{ name: "pairs of a better and a worse answer (reward model)", ...countries }],
    notes: "Scores answers; it writes none.",
  },
  grpo: {
    data: [{ name: "questions, answered by the model itself and scored by a reward model (GRPO)", ...countries }],
    notes: `${answering} Tuned by its own answers to say "I don't know." when it does not know.`,
  },
};

const optimizer = { weightDecay: 0.1, adamBeta1: 0.9, adamBeta2: 0.95, maxGradNorm: 1 } as const;

/**
 * The training stages. `pretrain` starts from random weights, `sft` from its model, and all others from the model of `sft`. The options were
 * tuned on this data (scripts/lifecycle/README.md).
 */
export const trainings: Record<TrainedStage, (setting: Setting) => Promise<Training>> = {
  async pretrain(setting) {
    const { work, trial } = setting;
    const model = await newModel(setting);
    const run = pretrain(model, {
      ...shared(setting, "pretrain"),
      ...optimizer,
      data: work.data("stories", "facts", "knowledge"),
      perDeviceTrainBatchSize: work.plan.quick ? 2 : 8,
      maxSeqLength: work.plan.contextLength,
      learningRate: 2e-3,
      warmupSteps: Math.ceil(work.plan.stages.pretrain.steps / 20),
      minLearningRateRatio: 0.1,
      ...trial,
    });
    return { model, run, dispose: () => model.dispose() };
  },

  async sft(setting) {
    const { work, trial } = setting;
    const model = await modelAfter(setting, "pretrain");
    const run = sft(model, {
      ...shared(setting, "sft"),
      ...optimizer,
      data: work.data("sft"),
      packing: true,
      perDeviceTrainBatchSize: work.plan.quick ? 2 : 8,
      maxSeqLength: work.plan.quick ? 128 : 256,
      learningRate: 6e-4,
      warmupSteps: 10,
      minLearningRateRatio: 0.1,
      replay: replayOf(work, 0.5),
      ...trial,
    });
    return { model, run, dispose: () => model.dispose() };
  },

  async dpo(setting) {
    const { work, trial } = setting;
    const model = await modelAfter(setting, "sft");
    const run = dpo(model, {
      ...shared(setting, "dpo"),
      ...best(setting, "dpo", model),
      data: work.data("preferences"),
      perDeviceTrainBatchSize: work.plan.quick ? 4 : 16,
      learningRate: 6e-5,
      warmupSteps: 10,
      beta: 0.1,
      rpoAlpha: 4,
      replay: replayOf(work, 0.5),
      ...trial,
    });
    return { model, run, dispose: () => model.dispose() };
  },

  async reward(setting) {
    const { work, trial } = setting;
    const model = await modelAfter(setting, "sft");
    const run = trainReward(model, {
      ...shared(setting, "reward"),
      data: work.data("preferences"),
      evalData: work.data("preferences-held-out"),
      perDeviceTrainBatchSize: work.plan.quick ? 4 : 16,
      learningRate: 2e-4,
      warmupSteps: 10,
      centerRewardsCoefficient: 0.01,
      ...trial,
    });
    return { model, run, dispose: () => model.dispose() };
  },

  async grpo(setting) {
    const { work, trial } = setting;
    const reward = await modelAfter(setting, "reward");
    const model = await modelAfter(setting, "sft");
    const run = grpo(model, {
      ...shared(setting, "grpo"),
      ...best(setting, "grpo", model),
      data: work.data("prompts"),
      rewards: [reward],
      numGenerations: work.plan.quick ? 2 : 8,
      perDeviceTrainBatchSize: work.plan.quick ? 4 : 128,
      maxCompletionLength: 24,
      learningRate: 1e-4,
      warmupSteps: 5,
      beta: 0.02,
      // Rewards of a prompt that is always answered correctly differ only by noise. Scaling by the deviation of this prompt's rewards would
      // amplify the noise.
      scaleRewards: "batch",
      // Rewards hardly change for questions that are always answered correctly. Replayed fine-tuning examples preserve
      // those answers.
      replay: { ...replayOf(work, 0.5), stage: "sft", data: work.data("sft") },
      ...trial,
    });
    return {
      model,
      run,
      dispose() {
        reward.dispose();
        model.dispose();
      },
    };
  },
};

function shared({ work, signal }: Setting, stage: TrainedStage) {
  return {
    outputDir: work.path(stage),
    maxSteps: work.plan.stages[stage].steps,
    saveSteps: work.plan.quick ? 2 : 25,
    saveTotalLimit: 1,
    resume: "auto",
    dtype: "bf16",
    seed: work.plan.seed,
    name: `${work.plan.name}-${stage}`,
    license: "MIT",
    trainingCutoffDate: CUT_OFF,
    card: cards[stage],
    signal,
  } as const;
}

/**
 * Keeps the best of eight checkpoints by their scores on the development split, because the share of answers "I don't
 * know." varies between checkpoints.
 */
function best({ work, development, signal }: Setting, stage: "dpo" | "grpo", model: LanguageModel) {
  return {
    evaluate: () => developmentScore(model, development, signal),
    evalSteps: Math.ceil(work.plan.stages[stage].steps / 8),
    loadBestModelAtEnd: true,
    metricForBestModel: "score",
  } as const;
}

/** Replays pre-training text in every step. Without replay, small models forget how to write, and forget facts. */
function replayOf(work: Workspace, weight: number) {
  return {
    data: work.data("stories", "facts", "knowledge"),
    weight,
    perDeviceTrainBatchSize: work.plan.quick ? 1 : 4,
    maxSeqLength: work.plan.quick ? 128 : 256,
  };
}
