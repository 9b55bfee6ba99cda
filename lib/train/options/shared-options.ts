// The options that every stage has, by subject. optimizer-options.ts has those of batches and the optimizer.
import { z } from "zod";
import { flag, real, whole } from "../../core/schema-parts.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { batchShape, optimizerShape } from "./optimizer-options.ts";
import { type Given, option } from "./option.ts";
import { replaySchema } from "./text-data.ts";
import { trackingShape } from "./tracking-options.ts";

/** Measures a model during its training. */
export type Evaluate<Base = LanguageModel> = (
  at: EvaluateAt<Base>,
) => Record<string, number> | Promise<Record<string, number>>;

/** Arguments of `evaluate`. */
export interface EvaluateAt<Base = LanguageModel> {
  /** Number of completed optimizer steps. */
  step: number;
  /** The model in training, as given to the stage: usually a LanguageModel, which can generate. */
  model: Base;
  /** The run's signal, to pass on to calls of the model. */
  signal?: AbortSignal | undefined;
}

/** Optimizer steps between checkpoints if saveSteps is not given, as in transformers' Trainer. */
export const DEFAULT_SAVE_STEPS = 500;

/** Evaluations during a run. */
export const evaluationShape = {
  /**
   * Number of steps between evaluations, if `evaluate` or held-out data is given. The run also ends with an evaluation.
   * Default: only at the end.
   */
  evalSteps: option(whole(1).optional(), "steps between evaluations; needs evaluation data or evaluate", {
    otherwise: "only at the end",
    aliases: "evalevery evalinterval evalstrategy",
    recorded: false,
  }),
  /**
   * Maximum number of held-out batches in an evaluation. Stages that generate answers evaluate as many prompts as fit
   * into these batches with all their answers, and at least one. Default: all.
   */
  evalBatches: option(whole(1).optional(), "maximum batches per evaluation", { otherwise: "all", recorded: false }),
  evaluate: option(
    z.custom<Evaluate<unknown>>((v) => typeof v === "function", "a function that returns numbers by name").optional(),
    "a function of { model, step } that returns named metrics for each evaluation; needs a .js or .ts configuration",
    { recorded: false },
  ),
  /** End with the weights of the best evaluation. Its checkpoint is kept in addition to those of saveTotalLimit. Default false. */
  loadBestModelAtEnd: option(flag().default(false), "load the weights of the best evaluation at the end", {
    recorded: false,
  }),
  /** The metric that determines the best evaluation: evalLoss, or a metric by its name. Default: evalLoss, if there is held-out data. */
  metricForBestModel: option(
    z.string({ error: "the name of a metric" }).optional(),
    "metric that selects the best evaluation: evalLoss or the name of a metric",
    { otherwise: "evalLoss", recorded: false },
  ),
  /** Whether a greater metric is better. Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter: option(flag().optional(), "whether higher values of the metric are better", {
    otherwise: 'false for names that end in "loss"',
    recorded: false,
  }),
  /** Stop after this number of consecutive evaluations that are not better than the best. Default: never. */
  earlyStoppingPatience: option(whole(1).optional(), "stop after this many evaluations without improvement", {
    otherwise: "never",
    aliases: "patience",
    recorded: false,
  }),
  /** An evaluation counts as better for early stopping if it improves on the best one by more than this. Default 0. */
  earlyStoppingThreshold: option(real(0).default(0), "an improvement must exceed this to count", {
    recorded: false,
  }),
};

/** Checkpoints and resuming. */
export const checkpointShape = {
  /**
   * With outputDir: number of steps between checkpoints. The run also ends with a checkpoint. 0: only at the end.
   * Default: 500, as in transformers.
   */
  saveSteps: option(whole(0).optional(), "steps between checkpoints; the end is always saved. 0: only at the end", {
    otherwise: String(DEFAULT_SAVE_STEPS),
    aliases: "save saveevery saveinterval savestrategy checkpointsteps",
    recorded: false,
  }),
  /** Number of checkpoints to keep. Default: all. If saveSteps is not given, each checkpoint replaces the previous one. */
  saveTotalLimit: option(whole(1).optional(), "number of checkpoints to keep", {
    otherwise: "all; without saveSteps the newest",
    aliases: "keepcheckpoints savelimit maxcheckpoints",
    recorded: false,
  }),
  /**
   * `"auto"` resumes from the newest checkpoint in outputDir, if there is any; true requires a checkpoint; a path
   * selects one. Damaged checkpoints are skipped with a warning. It is an error if all checkpoints are damaged. Default
   * false.
   */
  resume: option(
    z.union([z.boolean(), z.string()], { error: 'true, false, "auto" or a checkpoint\'s path' }).default(false),
    "true: resume from the newest checkpoint in outputDir; auto: resume if there is one; or a checkpoint's path",
    { aliases: "checkpoint resumefrom resumefromcheckpoint", recorded: false },
  ),
  /**
   * Let a resuming run use other options than it began with, and report them in a warning. By default a change of an
   * option that affects losses, such as learningRate or gradientAccumulationSteps, is refused. maxSteps, dtype and the
   * options of evaluation, logging and saving may always change. With a reference model, dtype must stay the same,
   * because the reference's log-probabilities depend on it. Default false.
   */
  allowChangedOptions: option(
    flag().default(false),
    "resume although learningRate or another option that affects the loss has changed",
    { recorded: false },
  ),
  /**
   * Allows a run to start in an outputDir that contains another run or a model, instead of an error. When the run
   * starts, it removes the other run's checkpoints and log. A run that trains an adapter also removes a full model, and
   * a run that trains the weights removes an adapter. A model of the same kind stays until the new one replaces it.
   * Cannot be combined with `resume: true` or `resume: "auto"`. Default false.
   */
  overwriteOutputDir: option(
    flag().default(false),
    "replace the run or model in outputDir; its checkpoints are deleted when the run starts",
    { aliases: "overwrite overwriteoutput", recorded: false },
  ),
  /** Element type of the finished model's weights on disk. Default: dtype. */
  saveDtype: option(z.enum(["bf16", "f16", "f32"]).optional(), "data type of the saved weights", {
    otherwise: "dtype",
    recorded: false,
  }),
};

/** The model card. */
export const cardShape = {
  /** The model's name, for its card. Default: its current name. */
  name: option(z.string().optional(), "name of the model", { recorded: false }),
  /** For the model card: the latest date of any training text, such as 2024-06-30. Default: none. */
  trainingCutoffDate: option(z.string().optional(), "date of the newest training text, such as 2024-06-30", {
    recorded: false,
  }),
  /** The model's license, for its card. Default: none. */
  license: option(z.string().optional(), "license of the model", { recorded: false }),
  /** Further fields of the model card, such as `data` (with licenses) and `notes`. Default: none. */
  card: option(
    z.record(z.string(), z.unknown(), { error: "an object of model card fields" }).optional(),
    "object with further fields, such as data and notes",
    { recorded: false },
  ),
};

/** The options that every stage has. */
export const sharedShape = {
  /** Folder for checkpoints, the finished model and `log.jsonl` with one line for each event. Default: none; nothing is written. */
  outputDir: option(
    z.string({ error: "a folder" }).min(1, "a folder").optional(),
    "folder for checkpoints, the trained model and log.jsonl, the metrics of each step and evaluation",
    { aliases: "out output outdir outputpath savedir checkpointdir", recorded: false },
  ),
  ...batchShape,
  ...optimizerShape,
  ...evaluationShape,
  ...checkpointShape,
  ...trackingShape,
  /** Mix batches of an earlier stage into every step, to avoid forgetting. Default: none. */
  replay: option(replaySchema.optional(), "add batches of an earlier stage to every step, against forgetting:", {
    inner: replaySchema.shape,
  }),
  ...cardShape,
};

/** Options that every stage has; names follow Hugging Face TRL's trainer configurations. */
export interface SharedOptions<Base = LanguageModel>
  // sharedShape includes the three shapes listed here. They are listed again, because published declarations lose the
  // comments of a shape that is spread in from another file.
  extends Given<typeof batchShape>,
    Given<typeof optimizerShape>,
    Given<typeof trackingShape>,
    Omit<Given<typeof sharedShape>, "evaluate"> {
  /**
   * Measures the current model at every evaluation, with or without evalData. Returns numbers by name, which become part of the events and
   * the card. Available in a program, or in a configuration that is a module. Default: none.
   */
  evaluate?: Evaluate<Base> | undefined;
}
