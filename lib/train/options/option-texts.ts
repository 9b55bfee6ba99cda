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
  outputDir: "folder for checkpoints, the trained model and log.jsonl, the metrics of each step and evaluation",
  maxSteps: "total optimiser steps, including those before a resume",
  perDeviceTrainBatchSize: "sequences per micro-batch",
  gradientAccumulationSteps: "micro-batches per optimiser step",
  maxSeqLength: ["maximum tokens per sequence", "the model's context length, at most 1024"],
  learningRate: "peak learning rate",
  lrScheduler:
    "learning-rate schedule. All except the constant ones end at minLearningRateRatio; warmup_stable_decay decays only over the last steps. A module may also give a function of { step, maxSteps }",
  decaySteps: ["decay steps of warmup_stable_decay", "decayRatio of all steps"],
  decayRatio: ["decay steps as a fraction of all steps", "0.1"],
  decayType: ["shape of the decay", "cosine"],
  warmupSteps: ["linear warmup steps", "0"],
  warmupRatio: ["warmup as a fraction of all steps, if warmupSteps is 0", "0"],
  minLearningRateRatio: ["final learning rate as a fraction of learningRate", "0"],
  weightDecay: "AdamW weight decay of matrices, scaled by the learning rate",
  adamBeta1: "AdamW β1: decay of the gradient's running mean",
  adamBeta2: "AdamW β2: decay of the squared gradient's running mean",
  adamEpsilon: "AdamW ε, added to the denominator",
  optim: "optimiser. muon: Muon for the weight matrices of hidden layers, AdamW for the rest",
  muonLearningRate: "peak learning rate of Muon, on the same schedule",
  muonMomentum: "momentum of Muon",
  muonWeightDecay: "weight decay of Muon, scaled by its learning rate",
  parameterGroups: "array of parameter groups with their own settings; a parameter joins the first group it matches:",
  gradientCheckpointing: "recompute each layer in the backward pass: less memory, more time",
  maxGradNorm: "clip gradients to this global L2 norm; 0 disables clipping",
  loggingSteps: "steps between reports",
  evalSteps: ["steps between evaluations; needs evaluation data or evaluate", "only at the end"],
  evaluate: "module only: a function of { model, step } that returns named metrics for each evaluation",
  loadBestModelAtEnd: "load the weights of the best evaluation at the end",
  metricForBestModel: ["metric that selects the best evaluation: evalLoss or the name of a metric", "evalLoss"],
  greaterIsBetter: ["whether higher values of the metric are better", 'false for names that end in "loss"'],
  earlyStoppingPatience: ["stop after this many evaluations without improvement", "never"],
  earlyStoppingThreshold: "smallest change that counts as an improvement",
  evalBatches: ["maximum batches per evaluation", "all"],
  saveSteps: ["steps between checkpoints; the end is always saved. 0: only at the end", String(DEFAULT_SAVE_STEPS)],
  saveTotalLimit: ["number of checkpoints to keep", "all; without saveSteps the newest"],
  dtype: "data type of activations and matrix products; master weights and optimiser state are always f32",
  saveDtype: ["data type of the saved weights", "dtype"],
  seed: "seed of data order, weight initialisation, dropout and sampling",
  resume: "true: resume from the newest checkpoint in outputDir; auto: resume if there is one; or a checkpoint's path",
  allowChangedOptions: "resume although learningRate or another option that affects the loss has changed",
  overwriteOutputDir: "replace the run or model in outputDir; its checkpoints are deleted when the run starts",
  replay: "add batches of an earlier stage to every step, against forgetting:",
  skipNonFinite: "skip steps with a NaN or infinite loss or gradient instead of stopping",
  maxConsecutiveSkips: "stop after this many skipped steps in a row",
  name: "name of the model",
  trainingCutoffDate: "date of the newest training text, such as 2024-06-30",
  licence: "licence of the model",
  card: "object with further fields, such as data and notes",
} as const satisfies Record<keyof typeof trainingShape, OptionText>;

/** Options of stages that can train an adapter. */
export const adapterTexts = {
  lora: "train a LoRA adapter and freeze the weights ({} for the defaults):",
  adapter: ["name of the adapter", '"default"'],
} as const satisfies Record<keyof typeof adapterShape, OptionText>;

/** Keys in `lora`. */
export const loraTexts = {
  r: ["rank of the update", "16"],
  alpha: ["the update is scaled by alpha / r; PEFT's name lora_alpha also works", "2 · r"],
  dropout: ["dropout on the adapter's inputs; PEFT's name lora_dropout also works", "0"],
  targetModules: ["all-linear, or names; each matches every layer that ends in it", "all-linear"],
  useRslora: ["scale by alpha / √r instead (rsLoRA)", "false"],
  modulesToSave: ["weights to train in full and save with the adapter, such as lm_head", "none"],
} as const satisfies Record<keyof LoraConfig, OptionText>;

/** Keys in `replay`. */
export const replayTexts = {
  stage: "pretrain: raw text; sft: rows of supervised fine-tuning",
  data: "the data of that stage",
  weight: "weight of its mean loss",
  perDeviceTrainBatchSize: ["sequences of the batch that each step adds", "that of the stage"],
  maxSeqLength: ["maximum tokens per sequence", "that of the stage"],
  documentSeparator: ["as in pretrain", "blank-line"],
  textField: ["as in pretrain", "text"],
} as const satisfies Record<keyof (typeof replaySchema)["shape"], OptionText>;

/** Keys in each of `parameterGroups`. */
export const groupTexts = {
  match: 'parameters of the group: part of a name such as layers.0 or bias, a regular expression "/…/", or an array',
  learningRate: ["peak learning rate of the group", "learningRate of the run"],
  learningRateRatio: ["or a factor of the run's learning rate", "1"],
  weightDecay: ["weight decay of the group, including norms and biases", "weightDecay of the run"],
  freeze: ["do not train the group", "false"],
} as const satisfies Record<keyof (typeof parameterGroupSchema)["shape"], OptionText>;

const epochs = {
  numTrainEpochs: "passes over the rows if maxSteps is not given; the last step is filled up from the next pass",
  maxSteps: ["total optimiser steps, including those before a resume", "those of numTrainEpochs"],
} as const satisfies Record<string, OptionText>;

const heldOutRows = {
  evalData: "rows for evaluation, never trained on",
  evalFraction: ["without evalData: fraction of the rows to hold out for evaluation", "0"],
} as const satisfies Record<string, OptionText>;

const rate = (stage: keyof typeof LEARNING_RATES): OptionText => {
  const { lora, weights } = LEARNING_RATES[stage];
  return ["peak learning rate", `${shown(lora)} with lora, ${shown(weights)} without`];
};
const shown = (rate: number) => rate.toExponential();

const preference = {
  ...epochs,
  ...heldOutRows,
  chatTemplate: ["name or text of the chat template, for prompts that are messages", "that of the tokenizer"],
  truncationMode: "if prompt and answer are too long: keep_end cuts the start of the prompt",
} as const satisfies Record<string, OptionText>;

const pairs = {
  ...preference,
  data: ".jsonl or .parquet files of rows {prompt, chosen, rejected}, or {prompt, ranked}",
  perDeviceTrainBatchSize: "pairs per micro-batch",
} as const satisfies Record<string, OptionText>;

const reference: OptionText = ["path of the reference model", "the model before training"];

const policy = {
  ...preference,
  prompts:
    ".jsonl or .parquet files of rows {prompt, …}, required unless data is given; reward functions receive all fields",
  evalPrompts: "rows for evaluation, never trained on",
  data: "alias of prompts",
  evalData: "alias of evalPrompts",
  maxSeqLength: ["maximum tokens of prompt and answer together", "the model's context length"],
  perDeviceTrainBatchSize: "answers per micro-batch",
  rewards: "paths of modules that export reward functions, and of reward models",
  rewardWeights: ["weight of each reward", "1 each"],
  maxCompletionLength: "maximum tokens per answer",
  temperature: "sampling temperature",
  topK: "sample from this many most likely tokens; 0: from all",
  topP: "sample from the most likely tokens with this total probability",
  minP: "sample from tokens with at least this fraction of the highest probability",
  repetitionPenalty: "values above 1 penalise repetition",
  rolloutDtype: [
    "data type for sampling answers; bf16 uses a rounded copy of the weights",
    "bf16 if dtype is bf16 or the device multiplies bf16; else f32",
  ],
  importanceSamplingCap: "upper bound of the importance weight of tokens that the rounded copy sampled",
  truncationMode: "if a prompt is too long: keep_end cuts its start",
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
  zLoss: "weight of the z-loss (logsumexp² of the logits), which keeps logits small",
  labelSmoothingFactor: "label smoothing, in training only",
  lossSpikeThreshold:
    "a loss this many standard deviations above the mean of the last hundred is a spike; 0 disables the check",
  skipLossSpikes: "skip steps with a loss spike",
} as const satisfies Record<keyof typeof crossEntropyShape, OptionText>;

/** Options of each stage, in addition to those above or overriding them. */
export const stageTexts: { readonly [Stage in StageName]: StageTexts<Stage> } = {
  pretrain: {
    data: "raw text: text, .jsonl, .parquet or .tokens files, or folders of them; or a mixture [{data, weight}, …]",
    evalData: "files for evaluation, never trained on",
    evalFraction: ["without evalData: fraction of the documents to hold out for evaluation", "0"],
    documentSeparator: [
      "separator of documents in text files: blank-line, line, file, or the text of a separator line",
      "blank-line",
    ],
    textField: ["field of .jsonl rows or column of .parquet files", "text"],
    packing: "concatenate: join documents and cut them into sequences; bestFit: keep documents whole and separate",
    ...crossEntropyTexts,
  },
  sft: {
    ...epochs,
    ...heldOutRows,
    data: ".jsonl or .parquet files of rows {messages}, {prompt, completion} or {text}",
    learningRate: rate("sft"),
    neftuneNoiseAlpha: "NEFTune noise on the embeddings in training (5 in the paper); 0 disables it",
    packing: "pack several rows into a sequence, without attention between them",
    assistantOnlyLoss: "conversations: loss only on the assistant's messages",
    completionOnlyLoss: "prompts with completions: loss only on the completions",
    chatTemplate: ["name or text of the chat template, saved with the model", "that of the tokenizer, or a plain one"],
    truncationMode: "what to do with rows longer than maxSeqLength",
    ...crossEntropyTexts,
  },
  classify: {
    ...epochs,
    data: ".jsonl or .parquet files of rows {text, label}, or {tokens, labels} with one label a word",
    evalData: "evaluation rows for accuracy, calibration and the temperature, never trained on",
    evalFraction: heldOutRows.evalFraction,
    perDeviceTrainBatchSize: "texts per micro-batch",
    maxSeqLength: ["maximum tokens per text", "the model's context length"],
    labels: ["the labels in order", "those of the rows, sorted"],
    problemType: "kind of label",
    pooling: ["hidden state that the head reads", "last; first for encoders"],
    trainable: "full: every weight; head: the head over a frozen trunk (with lora: adapters and the head)",
    classWeights: ["weight of each label by name; balanced: inversely proportional to its frequency", "1 each"],
    labelSmoothingFactor: "label smoothing",
    truncation: "cut long texts at the end instead of raising an error",
    calibrate: "fit a temperature for the logits on the evaluation rows",
  },
  embed: {
    ...epochs,
    data: ".jsonl or .parquet files of rows {anchor, positive}, with negative also one or several hard negatives",
    evalData: "evaluation rows for recall@k, never trained on",
    evalFraction: heldOutRows.evalFraction,
    evalScores: "rows {sentence1, sentence2, score} for the rank correlation of cosine similarities with scores",
    perDeviceTrainBatchSize: "pairs per micro-batch; the other pairs of a batch are its negatives",
    maxSeqLength: ["maximum tokens per text", "the model's context length, or its embedding.maxSeqLength"],
    pooling: ["pooling mode, or an array of several", "that of the model, or mean"],
    prompts: [
      'prefix of texts: an object with anchor, document (positives and negatives) and sentence (evalScores), each a text or {"promptName": one of the model\'s prompts}',
      "nothing",
    ],
    temperature: "temperature of the softmax over cosine similarities",
    symmetric: "add the loss from positives to anchors",
    truncation: "cut long texts at the end instead of raising an error",
  },
  reward: {
    ...pairs,
    learningRate: rate("reward"),
    centerRewardsCoefficient: "weight of (chosen + rejected)², which centres scores at 0; 0 disables it",
  },
  dpo: {
    ...pairs,
    learningRate: rate("dpo"),
    beta: "strength of the penalty for leaving the reference model",
    lossType: "loss function",
    labelSmoothing: "sigmoid only: probability that a preference label is flipped",
    rpoAlpha: "weight of the cross-entropy of chosen answers; 0 disables it",
    refModel: reference,
    loss: "module only: a custom loss as a function of log-probabilities, instead of lossType",
  },
  kto: {
    ...preference,
    data: ".jsonl or .parquet files of rows {prompt, completion, label}; label is true (good) or false",
    learningRate: rate("kto"),
    perDeviceTrainBatchSize: "answers per micro-batch",
    beta: "strength of the penalty for leaving the reference model",
    lossType: "loss function",
    desirableWeight: "weight of good answers",
    undesirableWeight: "weight of bad answers",
    refModel: reference,
  },
  orpo: { ...pairs, learningRate: rate("orpo"), beta: "weight of the odds-ratio term" },
  ppo: {
    ...policy,
    learningRate: rate("ppo"),
    numPpoEpochs: "passes over the answers of a rollout",
    numMiniBatches: "optimiser steps per pass over a rollout",
    klCoef: "weight of the KL divergence that is subtracted from each token's reward",
    klEstimator: "KL estimator. k1: difference of log-probabilities; k3: always ≥ 0",
    klTarget: ["target KL divergence per answer, in nats; klCoef adapts to it", "none, klCoef is constant"],
    klHorizon: "answers over which klCoef adapts",
    gamma: "discount factor of rewards",
    lam: "λ of generalised advantage estimation (GAE)",
    cliprange: "clip probability ratios to 1 ± this",
    cliprangeValue: "clip values to ± this around the old values",
    vfCoef: "weight of the value loss",
    whitenRewards: "divide rewards by their standard deviation within a rollout",
    missingEosPenalty: ["subtracted from the reward of answers truncated at maxCompletionLength", "0"],
  },
  grpo: {
    ...policy,
    learningRate: rate("grpo"),
    numGenerations: "answers per prompt, compared with each other",
    numGenerationsEval: ["answers per prompt in evaluations", "numGenerations"],
    numIterations: "passes over the answers of a rollout",
    stepsPerGeneration: ["micro-batches per rollout", "gradientAccumulationSteps"],
    beta: "weight of the KL divergence; 0 disables it and loads no reference model",
    epsilon: "clip probability ratios to [1 − epsilon, 1 + epsilonHigh]",
    epsilonHigh: ["upper clip range; DAPO recommends 0.28", "epsilon"],
    delta: ["upper bound of ratios of answers with negative advantage; must exceed 1 + epsilonHigh", "none"],
    lossType: "how token losses are aggregated",
    importanceSamplingLevel: "importance ratio per token, or per answer (GSPO)",
    scaleRewards:
      "divide advantages by the standard deviation of a prompt's rewards (group), a rollout's (batch), or not",
    maskTruncatedCompletions: "exclude answers truncated at maxCompletionLength from the loss",
  },
};
