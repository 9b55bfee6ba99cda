// Groups of options that several stages have.
import { z } from "zod";
import { isIterable } from "../../core/is-iterable.ts";
import { flag, positive, real, whole } from "../../core/schema-parts.ts";
import type { RowSource } from "../../data/rows.ts";
import { type LoraConfig, type LoraOptions, loraOption, loraOptions } from "../../models/adapters/lora.ts";
import type { World } from "../world/world.ts";
import { optimizerShape } from "./optimizer-options.ts";
import { type Given, option, variant } from "./option.ts";
import { namesIn, unknownOption } from "./option-names.ts";
import { textDataShape } from "./text-data.ts";

const STEPS = "total optimizer steps, including those before a resume";
const STEP_ALIASES = "steps numsteps totalsteps trainsteps numtrainsteps iters maxiters iterations numiterations";
const EPOCH_ALIASES = "epoch epochs nepochs numepochs maxepochs trainepochs numtrainepochs";

/** Length of a run, for stages without epochs. */
export const stepShape = {
  /** Total number of optimizer steps, including those before a resume. */
  maxSteps: option(whole(1), STEPS, { aliases: `${STEP_ALIASES} ${EPOCH_ALIASES}`, recorded: false }),
};

/** Length of a run, for stages without epochs. */
export interface StepOptions extends Given<typeof stepShape> {}

/** Length of a run in steps or epochs. */
export const epochShape = {
  /** Total number of optimizer steps, including those before a resume. Default: the steps of numTrainEpochs. */
  maxSteps: option(whole(1).optional(), STEPS, {
    otherwise: "those of numTrainEpochs",
    aliases: STEP_ALIASES,
    recorded: false,
  }),
  /** Number of passes over the rows, if maxSteps is not given. The last step is filled up with rows of a further pass. Default 3. */
  numTrainEpochs: option(
    positive().default(3),
    "passes over the rows if maxSteps is not given; the last step is filled up from the next pass",
    { aliases: EPOCH_ALIASES, recorded: false },
  ),
};

/** Length of a run, for stages over rows. */
export interface EpochOptions extends Given<typeof epochShape> {}

/** Returns the number of steps of a run: maxSteps, or the steps of numTrainEpochs passes over `items` rows. */
export function stepsOf(
  options: {
    maxSteps?: number | undefined;
    numTrainEpochs: number;
    perDeviceTrainBatchSize: number;
    gradientAccumulationSteps: number;
  },
  items: number,
  world: Pick<World, "size"> = { size: 1 },
): number {
  const perStep = options.perDeviceTrainBatchSize * options.gradientAccumulationSteps * world.size;
  return options.maxSteps ?? Math.max(1, Math.ceil((options.numTrainEpochs * items) / perStep));
}

/** Schema of a stage's rows: paths, or in a program also an iterable of rows. */
export const rows = <Row>() =>
  z.custom<RowSource<Row>>(
    (v) => (typeof v === "string" && v !== "") || isIterable(v),
    "a path, an array of paths, or an iterable of rows",
  );

/** The option `data` of a stage over rows. */
export const trainingRows = <Row>(help: string) => variant(textDataShape.data, rows<Row>(), { help });

/** The option `evalData` of a stage over rows. */
export const heldOutRows = <Row>(help = "rows for evaluation, never trained on") =>
  variant(textDataShape.evalData, rows<Row>().optional(), { help });

const evalFractionShape = {
  /** Without evalData: the share of data's rows that is held out, up to 0.5. Above 0, at least one row is held out. Default: 0. */
  evalFraction: variant(textDataShape.evalFraction, real(0, 0.5).optional(), {
    help: "without evalData: fraction of the rows to hold out for evaluation",
  }),
};

/** Rows that are held out. */
export const heldOutShape = <Row>() => ({ evalData: heldOutRows<Row>(), ...evalFractionShape });

/** Rows that are held out. */
export interface HeldOutOptions<Row = object> extends Given<typeof evalFractionShape> {
  /** Rows that are never trained on. Default: none. */
  evalData?: RowSource<Row> | undefined;
}

const loraKey = (help: string, otherwise: string, aliases?: string) =>
  option(z.unknown().optional(), help, { otherwise, aliases });

/** Help for the keys in `lora`. `loraOptions` checks their values. */
const loraShape = {
  r: loraKey("rank of the update", "16", "rank lorar lorarank"),
  alpha: loraKey("the update is scaled by alpha / r; PEFT's name lora_alpha also works", "2 · r", "loraalpha"),
  dropout: loraKey("dropout on the adapter's inputs; PEFT's name lora_dropout also works", "0", "loradropout"),
  targetModules: loraKey(
    "all-linear, or names; each matches every layer whose name ends in it",
    "all-linear",
    "targets modules loratargetmodules",
  ),
  useRslora: loraKey("scale by alpha / √r instead (rsLoRA)", "false", "rslora"),
  modulesToSave: loraKey("weights to train in full and save with the adapter, such as lm_head", "none"),
} satisfies Record<keyof LoraConfig, z.ZodType>;

/** The adapter to train. */
export const adapterShape = {
  /**
   * Train a LoRA adapter with these options (`{}`: the defaults), and keep the weights frozen. If the model has the
   * adapter named `adapter`, it is trained further, and options that contradict it are rejected. Without `lora`, the
   * stage merges active adapters into the weights, and trains the weights. It cannot merge into quantized weights.
   */
  lora: option(
    z
      .custom<LoraOptions>()
      .transform((options) => stageLora(options)) // throws with the name of the wrong option
      .optional(),
    "train a LoRA adapter and freeze the weights ({} for the defaults):",
    { aliases: "peft peftconfig loraconfig", inner: loraShape, recorded: false },
  ),
  /** The adapter's name. Default "default". */
  adapter: option(z.string().default("default"), "name of the adapter", { otherwise: '"default"', recorded: false }),
};

/** Options of the stages that can train an adapter instead of the weights. */
export interface AdapterOptions extends Given<typeof adapterShape> {}

/** Parses `lora` like loraOptions. The error for an unknown key also suggests the option that is most likely meant. */
function stageLora(given: LoraOptions): Partial<LoraConfig> {
  if (typeof given === "object" && given !== null)
    for (const key of Object.keys(given))
      if (loraOption(key) === undefined) throw unknownOption("lora", key, namesIn(loraShape));
  return loraOptions(given);
}

/** Options of losses that are a cross-entropy. */
export const crossEntropyShape = {
  /** Adds zLoss · logsumexp² of the logits at each counted position, in training only, to keep logits small. PaLM uses 1e-4. Default 0. */
  zLoss: option(real(0).default(0), "weight of the z-loss (logsumexp² of the logits), which keeps logits small"),
  /**
   * Share of the target that is spread evenly over all tokens, in training only. Unlike here, transformers'
   * label_smoothing_factor also smooths the held-out loss. Not supported for models that cap their logits (Gemma 2),
   * nor for quantized weights. Default 0.
   */
  labelSmoothingFactor: option(real(0, 0.99).default(0), "label smoothing, in training only", {
    aliases: "labelsmoothing",
  }),
  /**
   * A loss is a spike if it exceeds the mean of the last hundred losses by more than this number of standard
   * deviations. Detection starts after twenty steps. The standard deviation is taken as at least 0.02 nats and 5 % of
   * the mean. The first spike gives a warning, and events and the result count them (`lossSpikes`). 0 turns detection
   * off. Default 6.
   */
  lossSpikeThreshold: option(
    real(0).default(6),
    "a loss this many standard deviations above the mean of the last hundred is a spike; 0 disables the check",
    { recorded: false },
  ),
  /** Skip steps with a loss spike, as skipNonFinite skips steps with NaN (PaLM skipped the batches of its spikes). Default false. */
  skipLossSpikes: option(flag().default(false), "skip steps with a loss spike", { recorded: false }),
};

/** Options of the stages whose loss is next-token cross-entropy. */
export interface NextTokenLossOptions extends Given<typeof crossEntropyShape> {}

/** Aliases of an option that weights the KL divergence from a reference. */
export const KL_ALIASES = "kl klcoef klcoefficient";

/**
 * Default peak learning rates of a stage, for an adapter and for the weights. An adapter starts as a zero update, so
 * its rate is higher.
 */
export interface PeakRates {
  lora: number;
  weights: number;
}

/** The option `learningRate` of a stage with separate peaks. */
export const peakLearningRate = ({ lora, weights }: PeakRates) =>
  variant(optimizerShape.learningRate, positive().optional(), {
    otherwise: `${lora.toExponential()} with lora, ${weights.toExponential()} without`,
  });

/** Returns the peak learning rate of a run: the given one, or the stage's default. */
export function peakOf(
  peaks: PeakRates,
  { learningRate, lora }: { learningRate?: number | undefined; lora?: object | undefined },
): number {
  return learningRate ?? peaks[lora ? "lora" : "weights"];
}

/** Arguments of a call that a configuration file cannot contain. */
export interface CallOptions {
  /** Stops the run after saving the last completed step. Default: none. */
  signal?: AbortSignal | undefined;
  /** The processes that train together. Default: only this process. @experimental */
  world?: World | undefined;
  /** Receives warnings, such as skipped rows or steps. Default: process.emitWarning. */
  onWarning?: ((message: string) => void) | undefined;
}
