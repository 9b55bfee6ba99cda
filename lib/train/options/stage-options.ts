// Declares the stages' options for readers and for the published types, because types inferred from schemas lose their comments.
// `options.ts` and each stage's file have the schemas. test/train/options/option-types.test.ts checks that both agree, defaults included.
import type { RowSource } from "../../data/rows.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import type { LoraOptions } from "../../models/adapters/lora.ts";
import type { OwnSchedule } from "../../optim/schedule.ts";
import type { World } from "../world/world.ts";
import type { ParameterMatch } from "./parameter-match.ts";

/** Measures a model during its training. */
export type Evaluate<Base = LanguageModel> = (
  at: EvaluateAt<Base>,
) => Record<string, number> | Promise<Record<string, number>>;

/** Arguments of `evaluate`. */
export interface EvaluateAt<Base = LanguageModel> {
  /** Number of completed optimiser steps. */
  step: number;
  /** The model in training, as given to the stage: usually a LanguageModel, which can generate. */
  model: Base;
  signal?: AbortSignal | undefined;
}

/** Options that every stage has; names follow Hugging Face TRL's trainer configurations. */
export interface SharedOptions<Base = LanguageModel> {
  /** Folder for checkpoints, the finished model and `log.jsonl` with one line for each event. Default: none; nothing is written. */
  outputDir?: string | undefined;
  /** Number of sequences in one micro-batch. Default 8. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Number of micro-batches in one optimiser step. Default 1. */
  gradientAccumulationSteps?: number | undefined;
  /** Number of positions of a sequence. Default: the model's context, at most 1024. */
  maxSeqLength?: number | undefined;
  /** Peak of the schedule. Default 3e-4. */
  learningRate?: number | undefined;
  /**
   * Shape of the learning rate schedule. cosine and linear reach minLearningRateRatio at the last step; if that is 0, the last step
   * changes nothing.
   * warmup_stable_decay stays at the peak and decays in its last steps (Hu et al. 2024, "MiniCPM"). A run can be resumed with a larger
   * maxSteps from any checkpoint before the decay, with the same result as one run of that length.
   * constant and constant_with_warmup are the same: both respect the warm-up options. A function of `{ step, maxSteps }`, with steps from
   * 1, returns a multiple of learningRate; it is not called during warm-up. Default "cosine".
   */
  lrScheduler?:
    | "cosine"
    | "linear"
    | "constant"
    | "constant_with_warmup"
    | "warmup_stable_decay"
    | OwnSchedule
    | undefined;
  /** Length of the decay of warmup_stable_decay, in steps. Default: by decayRatio. */
  decaySteps?: number | undefined;
  /** The length of the decay as a share of maxSteps, rounded up. Default: 0.1. */
  decayRatio?: number | undefined;
  /** Shape of the decay, by transformers' names. Default: cosine, as there. */
  decayType?: "cosine" | "linear" | "1-sqrt" | undefined;
  /**
   * Number of steps in which the learning rate rises to its peak. A run with fewer steps reaches the peak at its last step. Default: 0.
   */
  warmupSteps?: number | undefined;
  /** The length of the warm-up as a share of all steps, if warmupSteps is 0. Default: 0. */
  warmupRatio?: number | undefined;
  /** Final learning rate, as a share of learningRate. Default: 0. */
  minLearningRateRatio?: number | undefined;
  /**
   * AdamW's weight decay: decoupled, multiplied by the learning rate, and applied only to matrices, not to norms and biases. Default 0.1.
   */
  weightDecay?: number | undefined;
  /** Decay rate of AdamW's mean of gradients. Default 0.9. */
  adamBeta1?: number | undefined;
  /** Decay rate of AdamW's mean of squared gradients. Default 0.95. */
  adamBeta2?: number | undefined;
  /** Epsilon added to AdamW's denominator, the root of that mean. Default 1e-8. */
  adamEpsilon?: number | undefined;
  /** `muon`: Muon for the matrices of hidden linear layers, AdamW for embeddings, head, norms and all else. Default "adamw". */
  optim?: "adamw" | "muon" | undefined;
  /** Peak of Muon's learning rate, on the same schedule. Default 0.02. */
  muonLearningRate?: number | undefined;
  /** Momentum of Muon. Default 0.95. */
  muonMomentum?: number | undefined;
  /** Decoupled weight decay of Muon's matrices, multiplied by its learning rate. Default 0. */
  muonWeightDecay?: number | undefined;
  /**
   * Groups of parameters with separate settings, matched by name. Each parameter belongs to the first group that matches it. A resumed run
   * must have its original groups. Default: none.
   */
  parameterGroups?: ParameterGroup[] | undefined;
  /** Keep only the inputs of each layer for the backward pass, and recompute the rest: less memory, more time. Default false. */
  gradientCheckpointing?: boolean | undefined;
  /** Maximum global L2 norm of the gradient, by clipping; 0: no clipping. Default 1. */
  maxGradNorm?: number | undefined;
  /** Number of steps between reports. Default 1. */
  loggingSteps?: number | undefined;
  /** Number of steps between evaluations, if there is held-out data or evaluate. The run also ends with one. Default: only at the end. */
  evalSteps?: number | undefined;
  /**
   * Measures the current model at every evaluation, with or without evalData. Returns numbers by name, which become part of the events and
   * the card. Available in a program, or in a configuration that is a module. Default: none.
   */
  evaluate?: Evaluate<Base> | undefined;
  /** End with the weights of the best evaluation. Its checkpoint is kept in addition to those of saveTotalLimit. Default false. */
  loadBestModelAtEnd?: boolean | undefined;
  /** The metric that determines the best evaluation: evalLoss, or a metric by its name. Default: evalLoss, if there is held-out data. */
  metricForBestModel?: string | undefined;
  /** Whether a greater metric is better. Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter?: boolean | undefined;
  /** Stop after this number of consecutive evaluations that are not better than the best. Default: never. */
  earlyStoppingPatience?: number | undefined;
  /** Minimum improvement that counts as better for early stopping. Default 0. */
  earlyStoppingThreshold?: number | undefined;
  /** Maximum number of held-out batches in an evaluation. For stages that draw answers, rounded to whole prompts. Default: all. */
  evalBatches?: number | undefined;
  /**
   * With outputDir: number of steps between checkpoints. The run also ends with one; 0: only at the end. Default: 500, as in transformers.
   */
  saveSteps?: number | undefined;
  /** Number of checkpoints to keep. Default: all. If saveSteps is not given, each checkpoint replaces the previous one. */
  saveTotalLimit?: number | undefined;
  /** Element type of activations and matrix products. Masters, moments and sums are always f32. Default "f32". */
  dtype?: "bf16" | "f32" | undefined;
  /** Element type of the finished model's weights on disk. Default: dtype. */
  saveDtype?: "bf16" | "f16" | "f32" | undefined;
  /** Seed of the data's order, new weights, dropout, noise and answers: an integer from 0 to 2⁵³ − 1. Default 0. */
  seed?: number | undefined;
  /**
   * `"auto"` resumes from the newest checkpoint in outputDir, if there is any; true requires one; a path selects one. Damaged checkpoints
   * are skipped with a warning. It is an error if all are damaged. Default false.
   */
  resume?: string | boolean | undefined;
  /**
   * Let a resuming run use other options than it began with, and report them in a warning. By default a change of an option that affects
   * losses, such as learningRate or gradientAccumulationSteps, is refused. maxSteps, dtype and the options of evaluation, logging and
   * saving may always change. Default false.
   */
  allowChangedOptions?: boolean | undefined;
  /**
   * Lets a run begin in an outputDir that holds another run or a model, which is otherwise refused. The other run's checkpoints and log are
   * removed when this one begins, a model of the other kind (adapter or whole) too; one of the same kind stays until it is replaced. It contradicts
   * `resume: true` and `resume: "auto"`. Default false.
   */
  overwriteOutputDir?: boolean | undefined;
  /** Mix batches of an earlier stage into every step, to avoid forgetting. Default: none. */
  replay?: ReplayOptions | undefined;
  /**
   * Skip a step if its loss or gradient is not finite, instead of stopping with NUMERICAL. The weights stay unchanged. The first such step
   * gives a warning, and events and the result count them (`skippedSteps`). Default false.
   */
  skipNonFinite?: boolean | undefined;
  /** Stop with NUMERICAL after this number of consecutive skipped steps, because the run has diverged. Default 10. */
  maxConsecutiveSkips?: number | undefined;
  /** The model's name, for its card. Default: its current name. */
  name?: string | undefined;
  /** For the model card: the latest date of any training text, as 2024-06-30. Default: none. */
  trainingCutoffDate?: string | undefined;
  /** The model's licence, for its card. Default: none. */
  licence?: string | undefined;
  /** Further fields of the model card, such as `data` (with licences) and `notes`. Default: none. */
  card?: Record<string, unknown> | undefined;
}

/** Parameters matched by name, with separate settings. */
export interface ParameterGroup {
  /** Selects parameters that match any of these. Names are those of the weights, or of an adapter's A and B (`….lora_B.default`). */
  match: ParameterMatch | ParameterMatch[];
  /**
   * Peak learning rate of the group, on the same schedule. It replaces learningRate (or muonLearningRate for Muon's matrices). Default:
   * that.
   */
  learningRate?: number | undefined;
  /** Or the ratio of its peak to learningRate (or muonLearningRate). Default: 1. */
  learningRateRatio?: number | undefined;
  /**
   * Weight decay of the group. It replaces weightDecay (or muonWeightDecay), and applies to all parameters of the group, including norms
   * and biases, as in PyTorch's groups. Default: weightDecay, for matrices only.
   */
  weightDecay?: number | undefined;
  /** Freeze the parameters: they stay unchanged bit for bit, and have no gradients and no moments. Default: false. */
  freeze?: boolean | undefined;
}

/** Length of the stages without epochs. */
export interface StepOptions {
  /** Total number of optimiser steps, including those before a resume. */
  maxSteps: number;
}

/** Length of the stages over rows. */
export interface EpochOptions {
  /** Total number of optimiser steps, including those before a resume. Default: by numTrainEpochs. */
  maxSteps?: number | undefined;
  /** Number of passes over the rows, if maxSteps is not given. The last step is filled up with rows of a further pass. Default 3. */
  numTrainEpochs?: number | undefined;
}

/** Rows that are held out. */
export interface HeldOutOptions<Row = object> {
  /** Rows that are never trained on. Default: none. */
  evalData?: RowSource<Row> | undefined;
  /** Without evalData: the share of data's rows that is held out, up to 0.5. Above 0, at least one row is held out. Default: 0. */
  evalFraction?: number | undefined;
}

/** Options of the stages that can train an adapter instead of the weights. */
export interface AdapterOptions {
  /**
   * Train a LoRA adapter with these options (`{}`: the defaults), and keep the weights frozen. An existing adapter of the name is trained
   * further, and options that contradict it are rejected. Without `lora`, trains the weights, after merging active adapters into them.
   * Merging into quantised weights is rejected.
   */
  lora?: LoraOptions | undefined;
  /** The adapter's name. Default "default". */
  adapter?: string | undefined;
}

/** Options of the stages whose loss is next-token cross-entropy. */
export interface NextTokenLossOptions {
  /** Adds zLoss · logsumexp² of the logits at each counted position, in training only, to keep logits small. PaLM uses 1e-4. Default 0. */
  zLoss?: number | undefined;
  /**
   * Share of the target that is spread evenly over all tokens, in training only. In transformers, label_smoothing_factor also smooths the
   * held-out loss. Not supported for models that cap their logits (Gemma 2), nor for quantised weights. Default 0.
   */
  labelSmoothingFactor?: number | undefined;
  /**
   * Number of standard deviations above the mean of the last hundred losses from which a loss is a spike. Detection starts after twenty
   * steps. The standard deviation is taken as at least 0.02 nats and 5 % of the mean. The first spike gives a warning, and events and the
   * result count them (`lossSpikes`). 0 turns detection off. Default 6.
   */
  lossSpikeThreshold?: number | undefined;
  /** Skip steps with a loss spike, as skipNonFinite skips steps with NaN (PaLM skipped the batches of its spikes). Default false. */
  skipLossSpikes?: boolean | undefined;
}

/** Texts, or rows with a text, from a program. An array of strings is an array of paths. */
export type TextSource =
  | Iterable<string | Readonly<Record<string, unknown>>>
  | AsyncIterable<string | Readonly<Record<string, unknown>>>;

/** Raw text: files, several corpora with weights, or texts in memory. */
export type TextData = string | string[] | CorpusPart[] | TextSource;

/** One of several corpora of raw text. */
export interface CorpusPart {
  /** Files, as `data` of `pretrain`. */
  data: string | string[];
  /** Relative weight. The corpus gives weight / the sum of all weights of the sequences. Default 1. */
  weight?: number | undefined;
  /**
   * Separator of documents in a text file: `blank-line`, `line`, `file`, or any other text on a separate line. Default: that of the stage.
   */
  documentSeparator?: string | undefined;
  /** The field of .jsonl rows, or the column of .parquet files. Default: that of the stage. */
  textField?: string | undefined;
}

/** Batches of an earlier stage, mixed into the steps of a later one. */
export interface ReplayOptions {
  /** `pretrain`: next tokens of raw text. `sft`: answers in packed rows of supervised fine-tuning. Default "pretrain". */
  stage?: "pretrain" | "sft" | undefined;
  /** The data of that stage: files; for raw text also several corpora with weights. */
  data: string | string[] | CorpusPart[];
  /** Factor of the replay's mean loss, which is added to the stage's loss. Default 0.5. */
  weight?: number | undefined;
  /** Number of sequences in the one batch that every step adds. Default: the stage's. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Number of positions of a sequence. Default: the stage's. */
  maxSeqLength?: number | undefined;
  /** As in `pretrain`. Default: blank-line. */
  documentSeparator?: string | undefined;
  /** As in `pretrain`. Default: text. */
  textField?: string | undefined;
}

/** Arguments of a call that a configuration file cannot hold. */
export interface CallOptions {
  /** Stops the run after saving the last completed step. Default: none. */
  signal?: AbortSignal | undefined;
  /** The processes that train together. Default: this one. */
  world?: World | undefined;
  /** Receives warnings, such as skipped rows or steps. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}
