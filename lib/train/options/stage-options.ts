// What the stages' options are, for readers and for the published types: declarations that are inferred from schemas keep no comments.
// `options.ts` and each stage's file have the schemas; test/train/options/option-types.test.ts holds both to each other, defaults included.
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { LoraOptions } from "../../models/adapters/lora.ts";
import type { OwnSchedule } from "../../optim/schedule.ts";
import type { World } from "../world/world.ts";
import type { ParameterMatch } from "./parameter-match.ts";

/** Measures a model in the middle of its training. */
export type Evaluate<Base = LanguageModel> = (
  at: EvaluateAt<Base>,
) => Record<string, number> | Promise<Record<string, number>>;

/** What `evaluate` is given. */
export interface EvaluateAt<Base = LanguageModel> {
  /** Completed optimiser steps. */
  step: number;
  /** What is trained, as the stage was given it: a LanguageModel, mostly, which it may ask. */
  model: Base;
  signal?: AbortSignal | undefined;
}

/** Options that every stage has; names follow Hugging Face TRL's trainer configurations. */
export interface SharedOptions<Base = LanguageModel> {
  /** Where checkpoints, the finished model and `log.jsonl`, a line for each event, go. Default: nowhere, nothing is written. */
  outputDir?: string | undefined;
  /** Sequences of one micro-batch. Default 8. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Micro-batches of one optimiser step. Default 1. */
  gradientAccumulationSteps?: number | undefined;
  /** Positions of a sequence. Default: the model's context, at most 1024. */
  maxSeqLength?: number | undefined;
  /** Peak of the schedule. Default 3e-4. */
  learningRate?: number | undefined;
  /**
   * cosine and linear reach minLearningRateRatio with the last step; where that is 0, the last step changes nothing. warmup_stable_decay stays at
   * the peak and falls in its last steps (Hu et al. 2024, "MiniCPM"): a run goes on from any checkpoint before these with more maxSteps as
   * if it had had them from the start. constant and constant_with_warmup are one: both have the warm-up that is asked for. Or a function of
   * `{ step, maxSteps }`, steps from 1, that gives a share of learningRate; steps of the warm-up are not asked for. Default "cosine".
   */
  lrScheduler?:
    | "cosine"
    | "linear"
    | "constant"
    | "constant_with_warmup"
    | "warmup_stable_decay"
    | OwnSchedule
    | undefined;
  /** Of warmup_stable_decay: steps in which the rate falls. Default: those of decayRatio. */
  decaySteps?: number | undefined;
  /** The same as a share of maxSteps, rounded up. Default: 0.1. */
  decayRatio?: number | undefined;
  /** Along which curve, in transformers' names. Default: cosine, as there. */
  decayType?: "cosine" | "linear" | "1-sqrt" | undefined;
  /** Steps in which the learning rate rises to its peak; in a shorter run, which is all warm-up, it rises to it with the last. Default: 0. */
  warmupSteps?: number | undefined;
  /** The same as a share of all steps, where warmupSteps is 0. Default: 0. */
  warmupRatio?: number | undefined;
  /** Where the schedule ends, as a share of learningRate. Default: 0. */
  minLearningRateRatio?: number | undefined;
  /** AdamW's decay. Decoupled, times the learning rate, of matrices alone: norms and biases have none. Default 0.1. */
  weightDecay?: number | undefined;
  /** How slowly AdamW's mean of gradients changes. Default 0.9. */
  adamBeta1?: number | undefined;
  /** How slowly AdamW's mean of squared gradients changes. Default 0.95. */
  adamBeta2?: number | undefined;
  /** Added to the root of that mean, by which AdamW divides. Default 1e-8. */
  adamEpsilon?: number | undefined;
  /** `muon`: Muon for the matrices of hidden linear layers, AdamW for embeddings, head, norms and all else. Default "adamw". */
  optim?: "adamw" | "muon" | undefined;
  /** Peak of Muon's learning rate, on the same schedule. Default 0.02. */
  muonLearningRate?: number | undefined;
  /** Momentum of Muon's matrices. Default 0.95. */
  muonMomentum?: number | undefined;
  /** Decoupled decay of Muon's matrices, times its learning rate. Default 0. */
  muonWeightDecay?: number | undefined;
  /**
   * Parameters with settings of their own, by name: each belongs to the first group that it matches. A resumed run has the groups that it
   * began with. Default: none.
   */
  parameterGroups?: ParameterGroup[] | undefined;
  /** Keep the inputs of each layer alone for the backward pass, and compute the rest of it again: less memory, more time. Default false. */
  gradientCheckpointing?: boolean | undefined;
  /** Largest global L2 norm of the gradient; 0: no clipping. Default 1. */
  maxGradNorm?: number | undefined;
  /** Report after every so many steps. Default 1. */
  loggingSteps?: number | undefined;
  /** Evaluate after every so many steps, where there are held-out data or evaluate, and at the end. Default: at the end alone. */
  evalSteps?: number | undefined;
  /**
   * Measures the model as it is, at every evaluation: beside evalData, or without it. It returns numbers by name, which the events and the
   * card have. In a program, or in a configuration that is a module. Default: none.
   */
  evaluate?: Evaluate<Base> | undefined;
  /** End with the weights of the best evaluation. Its checkpoint is kept beside those that saveTotalLimit keeps. Default false. */
  loadBestModelAtEnd?: boolean | undefined;
  /** Which evaluation is the best: by evalLoss, or a metric by its name. Default: evalLoss, where there is held-out data. */
  metricForBestModel?: string | undefined;
  /** Whether a greater metric is better. Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter?: boolean | undefined;
  /** Stop after so many evaluations in a row that are not better than the best. Default: never. */
  earlyStoppingPatience?: number | undefined;
  /** How much better an evaluation must be for that. Default 0. */
  earlyStoppingThreshold?: number | undefined;
  /** Batches of the held-out data that an evaluation reads at most; of answers that are drawn, those to whole prompts. Default: all. */
  evalBatches?: number | undefined;
  /** With outputDir: checkpoint after every so many steps, and at the end; 0: at the end alone. Default: 500, as in transformers. */
  saveSteps?: number | undefined;
  /**
   * Checkpoints that are kept. Default: all. Of those of the default saveSteps, which nobody asked for, each goes when the next one is there.
   */
  saveTotalLimit?: number | undefined;
  /** Element type of activations and matrix products: masters, moments and sums are f32 either way. Default "f32". */
  dtype?: "bf16" | "f32" | undefined;
  /** Element type of the finished model's weights on disk. Default: dtype. */
  saveDtype?: "bf16" | "f16" | "f32" | undefined;
  /** Of the data's order, new weights, dropout, noise and answers: a whole number from 0 to 2⁵³ − 1. Default 0. */
  seed?: number | undefined;
  /**
   * `"auto"` continues from the newest checkpoint in outputDir where there is one; true demands one; a path names it. Broken copies are passed
   * over with a warning, and are an error where none is complete. Default false.
   */
  resume?: string | boolean | undefined;
  /**
   * Let a run that resumes go on with other options than it began with, and tell of them in a warning. Without it a change of an option
   * that losses follow from, such as learningRate or gradientAccumulationSteps, is refused. maxSteps and dtype may always change, and so may
   * what is evaluated, logged or saved. Default false.
   */
  allowChangedOptions?: boolean | undefined;
  /**
   * Lets a run begin in an outputDir that holds another run or a model, which is otherwise refused. The other run's checkpoints and log are
   * removed when this one begins, a model of the other kind (adapter or whole) too; one of the same kind stays until it is replaced. It contradicts
   * `resume: true` and `resume: "auto"`. Default false.
   */
  overwriteOutputDir?: boolean | undefined;
  /** Mix batches of an earlier stage into every step, so that the model keeps what it knew. Default: none. */
  replay?: ReplayOptions | undefined;
  /**
   * Leave a step out when its loss, or its gradient, is not finite, instead of stopping with NUMERICAL: the weights stay as they are, the
   * first such step is told in a warning, and events and the result count them (`skippedSteps`). Default false.
   */
  skipNonFinite?: boolean | undefined;
  /** Stop with NUMERICAL when so many steps in a row were left out: nothing is learned any more. Default 10. */
  maxConsecutiveSkips?: number | undefined;
  /** The model's name, for its card. Default: the one it has. */
  name?: string | undefined;
  /** For the model card: the latest date of any training text, as 2024-06-30. Default: none. */
  trainingCutoffDate?: string | undefined;
  /** The model's licence, for its card. Default: none. */
  licence?: string | undefined;
  /** Further fields of the model card, such as `data` (with licences) and `notes`. Default: none. */
  card?: Record<string, unknown> | undefined;
}

/** Parameters of some names, with settings of their own. */
export interface ParameterGroup {
  /** Which parameters: any of these. Names are those of the weights, of an adapter those of its A and B (`….lora_B.default`). */
  match: ParameterMatch | ParameterMatch[];
  /** Their peak in place of learningRate (of Muon's matrices muonLearningRate), on the same schedule. Default: that. */
  learningRate?: number | undefined;
  /** Or their share of it. Default: all of it. */
  learningRateRatio?: number | undefined;
  /**
   * Their decay in place of weightDecay (muonWeightDecay), of all of them: of norms and biases too, as in PyTorch's groups. Default: that, of
   * matrices alone.
   */
  weightDecay?: number | undefined;
  /** true: they stay as they are to the byte, and have no gradients and no moments. Default: false. */
  freeze?: boolean | undefined;
}

/** Length of the stages that know no epochs. */
export interface StepOptions {
  /** Optimiser steps in all, those before a resume included. */
  maxSteps: number;
}

/** Length of the stages over rows. */
export interface EpochOptions {
  /** Optimiser steps in all, those before a resume included. Default: as many as numTrainEpochs takes. */
  maxSteps?: number | undefined;
  /** Passes over the rows, where maxSteps is not given; in whole steps, of which the last is filled up with rows of a further pass. Default 3. */
  numTrainEpochs?: number | undefined;
}

/** Rows that are kept apart. */
export interface HeldOutOptions<Row = object> {
  /** Rows that are never trained on. Default: none. */
  evalData?: RowSource<Row> | undefined;
  /** Without evalData: the share of data's rows that is held out instead, up to 0.5; above 0 one row at least. Default: 0. */
  evalFraction?: number | undefined;
}

/** Options of the stages that can train an adapter instead of the weights. */
export interface AdapterOptions {
  /**
   * Train a LoRA adapter, and leave the weights as they are; `{}`: with its defaults. An adapter that is there already is trained further, and
   * options that contradict it are refused. Without: the weights, into which active adapters are merged first (refused where these are
   * quantised).
   */
  lora?: LoraOptions | undefined;
  /** The adapter's name. Default "default". */
  adapter?: string | undefined;
}

/** Options of the stages whose loss is next-token cross-entropy. */
export interface CrossEntropyOptions {
  /** Adds zLoss · logsumexp² of the logits at each counted position, in training alone: logits stay small. PaLM has 1e-4. Default 0. */
  zLoss?: number | undefined;
  /**
   * Share of the target that goes to all tokens alike, in training alone, as transformers' label_smoothing_factor (which smooths its held-out loss
   * too). Not of models that cap their logits (Gemma 2), nor over quantised weights. Default 0.
   */
  labelSmoothingFactor?: number | undefined;
  /**
   * A step whose loss is so many standard deviations above the mean of the last hundred is a spike (after twenty of them; at least 0.02
   * nats and 5 % of the mean count as one): the first is told in a warning, events and the result count them (`lossSpikes`). 0: none is looked
   * for. Default 6.
   */
  lossSpikeThreshold?: number | undefined;
  /** Leave such a step out, as skipNonFinite does others (PaLM skipped the batches of its spikes). Default false. */
  skipLossSpikes?: boolean | undefined;
}

/** Texts, or rows with a text, as a program gives them. Strings of an array are paths. */
export type TextSource =
  | Iterable<string | Readonly<Record<string, unknown>>>
  | AsyncIterable<string | Readonly<Record<string, unknown>>>;

/** Raw text: files, several corpora with weights, or the texts themselves. */
export type TextData = string | string[] | CorpusPart[] | TextSource;

/** One of several corpora of raw text. */
export interface CorpusPart {
  /** Files, as `data` of `pretrain`. */
  data: string | string[];
  /** Its share of the sequences is weight / the sum of all weights. Default 1. */
  weight?: number | undefined;
  /** Between documents of a text file: `blank-line`, `line`, `file`, or a line of its own. Default: that of the stage. */
  documentSeparator?: string | undefined;
  /** The field of .jsonl rows, or the column of .parquet files. Default: that of the stage. */
  textField?: string | undefined;
}

/** Batches of an earlier stage that are mixed into the steps of a later one. */
export interface ReplayOptions {
  /** `pretrain`: next tokens of raw text. `sft`: answers of rows as supervised fine-tuning reads them, packed. Default "pretrain". */
  stage?: "pretrain" | "sft" | undefined;
  /** What that stage reads: files; of raw text also several corpora with weights. */
  data: string | string[] | CorpusPart[];
  /** Factor of its mean loss beside the stage's own. Default 0.5. */
  weight?: number | undefined;
  /** Sequences of the one batch that every step adds. Default: the stage's. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Positions of a sequence. Default: the stage's. */
  maxSeqLength?: number | undefined;
  /** As in `pretrain`. Default: blank-line. */
  documentSeparator?: string | undefined;
  /** As in `pretrain`. Default: text. */
  textField?: string | undefined;
}

/** What a call gives besides the options of a file. */
export interface CallOptions {
  /** Stops the run: the last completed step is saved first. Default: none. */
  signal?: AbortSignal | undefined;
  /** The processes that train together. Default: this one. */
  world?: World | undefined;
  /** Told of what is no error, such as rows or steps that are left out. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}
