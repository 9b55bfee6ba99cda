// One line of help for every training option, for `heddle train STAGE --help`. The compiler checks that the tables are complete.
import type { LoraConfig } from "../../models/adapters/lora.ts";
import type { classifySchema } from "../stages/classify.ts";
import type { dpoSchema } from "../stages/dpo.ts";
import type { embedSchema } from "../stages/embed.ts";
import type { grpoSchema } from "../stages/grpo.ts";
import type { ktoSchema } from "../stages/kto.ts";
import type { orpoSchema } from "../stages/orpo.ts";
import type { ppoSchema } from "../stages/ppo.ts";
import type { pretrainSchema } from "../stages/pretrain.ts";
import type { rewardSchema } from "../stages/reward.ts";
import type { sftSchema } from "../stages/sft.ts";
import { DEFAULT_SAVE_STEPS, LEARNING_RATES } from "./defaults.ts";
import type { adapterShape, crossEntropyShape, parameterGroupSchema, replaySchema, trainingShape } from "./options.ts";

/** Help for an option. The second text describes its default if the schema does not have it. */
export type OptionText = string | readonly [meaning: string, standard: string];

/** Options that every stage has. */
export const trainingTexts = {
  outputDir: "folder for checkpoints, the finished model and log.jsonl, the run's steps and evaluations",
  maxSteps: "optimiser steps in all, those before a resume included",
  perDeviceTrainBatchSize: "sequences of one micro-batch",
  gradientAccumulationSteps: "micro-batches of one optimiser step",
  maxSeqLength: ["positions of a sequence", "the model's context, at most 1024"],
  learningRate: "the schedule's peak",
  lrScheduler:
    "how the learning rate falls; all but constant ones reach minLearningRateRatio with the last step, warmup_stable_decay in its last steps alone; in a module also a function of { step, maxSteps }",
  decaySteps: ["steps in which warmup_stable_decay falls", "decayRatio of all"],
  decayRatio: ["the same as a share of all steps", "0.1"],
  decayType: ["along which curve it falls", "cosine"],
  warmupSteps: ["steps in which the learning rate rises to its peak", "0"],
  warmupRatio: ["the same as a share of all steps, where warmupSteps is 0", "0"],
  minLearningRateRatio: ["where the schedule ends, as a share of learningRate", "0"],
  weightDecay: "AdamW's decay of matrices, times the learning rate",
  adamBeta1: "how slowly AdamW's mean of gradients changes",
  adamBeta2: "how slowly AdamW's mean of squared gradients changes",
  adamEpsilon: "added to the root of that mean, by which AdamW divides",
  optim: "muon: Muon for the matrices of hidden linear layers, AdamW for all else",
  muonLearningRate: "peak of Muon's learning rate, on the same schedule",
  muonMomentum: "Muon's momentum",
  muonWeightDecay: "Muon's decay of matrices, times its learning rate",
  parameterGroups: "an array of parameters with settings of their own, each in the first that it matches:",
  gradientCheckpointing: "less memory, more time: compute each layer again in the backward pass",
  maxGradNorm: "largest global L2 norm of the gradient; 0: no clipping",
  loggingSteps: "report after every so many steps",
  evalSteps: ["evaluate after every so many steps, where there are held-out data or evaluate", "at the end alone"],
  evaluate: "in a module: a function of { model, step } that returns numbers by name, at every evaluation",
  loadBestModelAtEnd: "end with the weights of the best evaluation",
  metricForBestModel: ["which evaluation is the best: evalLoss, or a metric by its name", "evalLoss"],
  greaterIsBetter: ["whether a greater metric is better", 'false for names that end in "loss"'],
  earlyStoppingPatience: ["stop after so many evaluations in a row that are not better than the best", "never"],
  earlyStoppingThreshold: "how much better an evaluation must be for that",
  evalBatches: ["batches of the held-out data that an evaluation reads at most", "all"],
  saveSteps: ["checkpoint after every so many steps, and at the end; 0: at the end alone", String(DEFAULT_SAVE_STEPS)],
  saveTotalLimit: ["checkpoints that are kept", "all; without saveSteps the newest"],
  dtype: "element type of activations and matrix products; masters and moments are f32 either way",
  saveDtype: ["element type of the finished model's weights on disk", "dtype"],
  seed: "of the data's order, new weights, dropout and answers",
  resume: "true or auto: go on from the newest checkpoint in outputDir (auto: if any); or a checkpoint's path",
  allowChangedOptions: "go on from a checkpoint with another learningRate, or others that losses follow from",
  overwriteOutputDir:
    "replace the run or the model that outputDir holds; its checkpoints are removed when the run begins",
  replay: "batches of an earlier stage in every step, so that the model keeps what it knew:",
  skipNonFinite: "leave a step out whose loss or gradient is not finite, instead of stopping",
  maxConsecutiveSkips: "stop when so many steps in a row were left out",
  name: "the model's name",
  trainingCutoffDate: "the latest date of any training text, as 2024-06-30",
  licence: "the model's licence",
  card: "an object of further fields, such as data and notes",
} as const satisfies Record<keyof typeof trainingShape, OptionText>;

/** Options of stages that can train an adapter. */
export const adapterTexts = {
  lora: "train a LoRA adapter, and leave the weights as they are ({}: with its defaults):",
  adapter: ["the adapter's name", '"default"'],
} as const satisfies Record<keyof typeof adapterShape, OptionText>;

/** Keys in `lora`. */
export const loraTexts = {
  r: ["rank of the update", "16"],
  alpha: ["the update is scaled by alpha / r; as in PEFT also lora_alpha", "2 · r"],
  dropout: ["share of a layer's inputs left out in training; as in PEFT also lora_dropout", "0"],
  targetModules: ["all-linear, or names: each stands for all layers that end in it", "all-linear"],
  useRslora: ["scale by alpha / √r instead", "false"],
  modulesToSave: ["weights that are trained whole and kept with the adapter, such as lm_head", "none"],
} as const satisfies Record<keyof LoraConfig, OptionText>;

/** Keys in `replay`. */
export const replayTexts = {
  stage: "pretrain: raw text; sft: rows as supervised fine-tuning reads them",
  data: "what that stage reads",
  weight: "factor of its mean loss beside the stage's own",
  perDeviceTrainBatchSize: ["sequences of the one batch that every step adds", "the stage's"],
  maxSeqLength: ["positions of a sequence", "the stage's"],
  documentSeparator: ["as in pretrain", "blank-line"],
  textField: ["as in pretrain", "text"],
} as const satisfies Record<keyof (typeof replaySchema)["shape"], OptionText>;

/** Keys in each of `parameterGroups`. */
export const groupTexts = {
  match: 'which: a part of their names such as layers.0 or bias, "/…/" a regular expression, or an array of them',
  learningRate: ["their schedule's peak", "that of all"],
  learningRateRatio: ["or their share of the learning rate of all", "1"],
  weightDecay: ["decay of all of them, norms and biases too", "that of all"],
  freeze: ["true: they stay as they are", "false"],
} as const satisfies Record<keyof (typeof parameterGroupSchema)["shape"], OptionText>;

const epochs = {
  numTrainEpochs: "passes over the rows, where maxSteps is not given; the last step is filled up from a further one",
  maxSteps: ["optimiser steps in all, those before a resume included", "those of numTrainEpochs"],
} as const satisfies Record<string, OptionText>;

const heldOutRows = {
  evalData: "rows that are never trained on",
  evalFraction: ["without evalData: the share of data's rows that is held out instead", "0"],
} as const satisfies Record<string, OptionText>;

const rate = (stage: keyof typeof LEARNING_RATES): OptionText => {
  const { lora, weights } = LEARNING_RATES[stage];
  return ["the schedule's peak", `${shown(lora)} with lora, ${shown(weights)} without`];
};
const shown = (rate: number) => rate.toExponential();

const preference = {
  ...epochs,
  ...heldOutRows,
  chatTemplate: ["name or text of the chat template of prompts that are messages", "the tokenizer's own"],
  truncationMode: "what becomes of an answer that is too long with its prompt: keep_end cuts the prompt's beginning",
} as const satisfies Record<string, OptionText>;

const pairs = {
  ...preference,
  data: ".jsonl or .parquet files of rows {prompt, chosen, rejected}, or {prompt, ranked}",
  perDeviceTrainBatchSize: "pairs of one micro-batch",
} as const satisfies Record<string, OptionText>;

const reference: OptionText = ["path of the model that the policy is held to", "itself before the first step"];

const policy = {
  ...preference,
  prompts:
    ".jsonl or .parquet files of rows {prompt, …}, needed where data is not given; further fields go to the rewards",
  evalPrompts: "rows that are never trained on",
  data: "another name of prompts",
  evalData: "another name of evalPrompts",
  maxSeqLength: ["positions of a prompt with its answer", "the model's context"],
  perDeviceTrainBatchSize: "answers of one micro-batch",
  rewards: "paths of modules that export reward functions, and of reward models",
  rewardWeights: ["weight of each reward", "1 each"],
  maxCompletionLength: "tokens of an answer at most",
  temperature: "of the answers",
  topK: "answers are drawn from so many of the likeliest tokens; 0: from all",
  topP: "answers are drawn from the likeliest tokens that reach this probability together",
  minP: "answers are drawn from tokens this many times as probable as the likeliest",
  repetitionPenalty: "above 1: fewer repetitions",
  rolloutDtype: [
    "element type that answers are drawn in; bf16: a rounded twin of the weights",
    "bf16 where dtype is, or the device multiplies it; f32 else",
  ],
  importanceSamplingCap: "most that a token drawn by the rounded twin may count",
  truncationMode: "what becomes of a prompt that is too long: keep_end cuts its beginning",
  refModel: reference,
} as const satisfies Record<string, OptionText>;

/** The schemas of stages by name. */
interface Schemas {
  pretrain: typeof pretrainSchema;
  sft: typeof sftSchema;
  classify: typeof classifySchema;
  embed: typeof embedSchema;
  reward: typeof rewardSchema;
  dpo: typeof dpoSchema;
  kto: typeof ktoSchema;
  orpo: typeof orpoSchema;
  ppo: typeof ppoSchema;
  grpo: typeof grpoSchema;
}

/** Every stage that a configuration file can run. */
export type StageName = keyof Schemas;

type Shared = keyof typeof trainingShape | keyof typeof adapterShape;

/** Texts for a stage's specific options, and for shared options with another meaning there. */
type StageTexts<Stage extends StageName> = Readonly<
  Record<Exclude<keyof Schemas[Stage]["shape"], Shared>, OptionText> & Partial<Record<Shared, OptionText>>
>;

/** Options of stages whose loss is next-token cross-entropy. */
const crossEntropyTexts = {
  zLoss: "factor of logsumexp² of the logits in the loss, which keeps logits small",
  labelSmoothingFactor: "share of the target that goes to all tokens alike, in training alone",
  lossSpikeThreshold:
    "standard deviations above the mean of the last hundred losses from which on one is a spike; 0: none is looked for",
  skipLossSpikes: "leave such a step out",
} as const satisfies Record<keyof typeof crossEntropyShape, OptionText>;

/** Options of each stage, in addition to those above or overriding them. */
export const stageTexts: { readonly [Stage in StageName]: StageTexts<Stage> } = {
  pretrain: {
    data: "files of raw text: text, .jsonl, .parquet, .tokens or folders of those; or [{data, weight}, …]",
    evalData: "files that are never trained on",
    evalFraction: ["without evalData: the share of data's documents that is held out instead", "0"],
    documentSeparator: ["between documents of a text file: blank-line, line, file, or a line of its own", "blank-line"],
    textField: ["field of .jsonl rows, column of .parquet files", "text"],
    packing: "concatenate: documents end to end, cut into sequences; bestFit: whole ones that do not see each other",
    ...crossEntropyTexts,
  },
  sft: {
    ...epochs,
    ...heldOutRows,
    data: ".jsonl or .parquet files of rows {messages}, {prompt, completion} or {text}",
    learningRate: rate("sft"),
    neftuneNoiseAlpha: "noise on the embeddings in training (NEFTune, there 5); 0: none",
    packing: "several rows a sequence, which do not see each other",
    assistantOnlyLoss: "of conversations, learn the assistant's answers alone",
    completionOnlyLoss: "of prompts with completions, learn the completions alone",
    chatTemplate: ["name or text of the chat template, which the model keeps", "the tokenizer's own, or a plain one"],
    truncationMode: "what becomes of a row longer than maxSeqLength",
    ...crossEntropyTexts,
  },
  classify: {
    ...epochs,
    data: ".jsonl or .parquet files of rows {text, label}, or {tokens, labels} with one label a word",
    evalData: "rows that are never trained on: accuracy, calibration and the temperature are measured on them",
    evalFraction: heldOutRows.evalFraction,
    perDeviceTrainBatchSize: "texts of one micro-batch",
    maxSeqLength: ["tokens of a text at most", "the model's context"],
    labels: ["the labels in their order", "those of the rows, sorted"],
    problemType: "what a row's label is",
    pooling: ["which hidden state of a text the head sees", "last; of encoders first"],
    trainable: "full: every weight; head: the head over a frozen trunk (with lora: adapters and the head)",
    classWeights: ["weight of each label's rows by name; balanced: inverse to how often it occurs", "1 each"],
    labelSmoothingFactor: "share of the target that goes to all labels alike",
    truncation: "keep the beginning of a text that is too long, instead of an error",
    calibrate: "fit a temperature on the held-out rows, by which logits are then divided",
  },
  embed: {
    ...epochs,
    data: ".jsonl or .parquet files of rows {anchor, positive}, with negative also one or several hard negatives",
    evalData: "rows that are never trained on: recall@k is measured on them",
    evalFraction: heldOutRows.evalFraction,
    evalScores: "rows {sentence1, sentence2, score}: how well cosines rank pairs as scores do is measured on them",
    perDeviceTrainBatchSize: "pairs of one micro-batch: the others are the wrong answers",
    maxSeqLength: ["tokens of a text at most", "the model's context, or its embedding.maxSeqLength"],
    pooling: ["what a text's hidden states become, in one way or an array of several", "the model's own, or mean"],
    prompts: [
      'put in front of texts: an object with anchor, document (positives and negatives) and sentence (evalScores), each a text or {"promptName": one of the model\'s prompts}',
      "nothing",
    ],
    temperature: "divides cosines before the softmax over the batch",
    symmetric: "the loss from positives to anchors as well",
    truncation: "keep the beginning of a text that is too long, instead of an error",
  },
  reward: {
    ...pairs,
    learningRate: rate("reward"),
    centerRewardsCoefficient: "weight of (chosen + rejected)², which keeps scores around 0; 0: none",
  },
  dpo: {
    ...pairs,
    learningRate: rate("dpo"),
    beta: "how strongly the policy is held to the reference",
    lossType: "the objective",
    labelSmoothing: "with sigmoid: probability that a preference is the wrong way round",
    rpoAlpha: "weight of the chosen answers' cross-entropy; 0: none",
    refModel: reference,
    loss: "in a module: an objective of your own, a function of log-probabilities, instead of lossType",
  },
  kto: {
    ...preference,
    data: ".jsonl or .parquet files of rows {prompt, completion, label}; label is true (good) or false",
    learningRate: rate("kto"),
    perDeviceTrainBatchSize: "answers of one micro-batch",
    beta: "how strongly the policy is held to the reference",
    lossType: "the objective",
    desirableWeight: "weight of good answers",
    undesirableWeight: "weight of bad answers",
    refModel: reference,
  },
  orpo: { ...pairs, learningRate: rate("orpo"), beta: "weight of the odds-ratio term" },
  ppo: {
    ...policy,
    learningRate: rate("ppo"),
    numPpoEpochs: "how often a rollout's answers are learned from",
    numMiniBatches: "optimiser steps that one pass over a rollout takes",
    klCoef: "weight of the divergence from the reference, which is taken off each token's reward",
    klEstimator: "k1: difference of log-probabilities; k3: an estimate that is never negative",
    klTarget: ["divergence of an answer, in nats, that klCoef is steered to", "klCoef stays"],
    klHorizon: "answers over which klCoef follows",
    gamma: "discount of later rewards",
    lam: "λ of generalised advantage estimation",
    cliprange: "ratios of probabilities are cut to 1 ± this",
    cliprangeValue: "values are cut to this around the old ones",
    vfCoef: "weight of the value loss",
    whitenRewards: "rewards of a rollout divided by their deviation",
    missingEosPenalty: ["taken off the reward of an answer that was cut off at maxCompletionLength", "0"],
  },
  grpo: {
    ...policy,
    learningRate: rate("grpo"),
    numGenerations: "answers to each prompt, which are compared with each other",
    numGenerationsEval: ["the same in an evaluation", "numGenerations"],
    numIterations: "how often a rollout's answers are learned from",
    stepsPerGeneration: ["micro-batches that one rollout fills", "gradientAccumulationSteps"],
    beta: "weight of the divergence from the reference; 0: none, and no reference",
    epsilon: "ratios of probabilities are cut to [1 − epsilon, 1 + epsilonHigh]",
    epsilonHigh: ["see epsilon; DAPO recommends 0.28", "epsilon"],
    delta: ["above 1 + epsilonHigh: a bound on ratios of answers that are worse than the others", "none"],
    lossType: "how the losses of tokens make one",
    importanceSamplingLevel: "ratios of tokens, or of whole answers (GSPO)",
    scaleRewards:
      "what advantages are divided by: the deviation of a prompt's rewards, of all of a rollout's, or nothing",
    maskTruncatedCompletions: "leave answers out of the loss that were cut off at maxCompletionLength",
  },
};
