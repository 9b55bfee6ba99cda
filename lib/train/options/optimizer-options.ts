// The options of batches, the learning rate and the optimizer, which every stage has.
import { z } from "zod";
import { isSeed, SEEDS } from "../../core/errors.ts";
import { flag, positive, real, whole } from "../../core/schema-parts.ts";
import { type CustomSchedule, decayTypes, lrSchedulers } from "../../optim/schedule.ts";
import { type Given, option, variant } from "./option.ts";
import { isParameterMatch, type ParameterMatch } from "./parameter-match.ts";

/** Kinds of training state that can be divided among the ranks. */
const shardings = ["none", "optimizer", "gradients", "parameters"] as const;
/** The training state that is divided among the ranks. Each kind includes those before it. */
export type Sharding = (typeof shardings)[number];

/** Batches, precision and steps. */
export const batchShape = {
  /** Number of sequences in one micro-batch. Default 8. */
  perDeviceTrainBatchSize: option(whole(1).default(8), "sequences per micro-batch", {
    aliases: "bs batch batchsize trainbatchsize microbatchsize devicebatchsize evalbatchsize",
  }),
  /** Number of micro-batches in one optimizer step. Default 1. */
  gradientAccumulationSteps: option(whole(1).default(1), "micro-batches per optimizer step", {
    aliases: "accumulation accumulationsteps accumulategradbatches gradaccum gradaccumsteps gradientaccumulation",
  }),
  /** Maximum number of tokens in a sequence. Default: the model's context length, at most 1024. */
  maxSeqLength: option(whole(1).optional(), "maximum tokens per sequence", {
    otherwise: "the model's context length, at most 1024",
    aliases:
      "seqlen seqlength sequencelength maxseqlen maxlen maxlength modelmaxlength blocksize context contextlength cutofflen",
  }),
  /** Keep only the inputs of each layer for the backward pass, and recompute the rest: less memory, more time. Default false. */
  gradientCheckpointing: option(
    flag().default(false),
    "recompute each layer in the backward pass: less memory, more time",
    { aliases: "checkpointing activationcheckpointing gradcheckpointing", recorded: false },
  ),
  /**
   * The state that is divided among several processes. `"optimizer"` is stage 1 of ZeRO: each process keeps the
   * optimizer state of its part of the trained weights, and updates that part. It then receives the other parts from
   * the other processes. `"gradients"` is stage 2: each process also keeps only that part of the gradients.
   * `"parameters"` is stage 3, as in FSDP: each process also keeps only that part of the trained weights, and collects a
   * weight from the others whenever a step uses it. With `"parameters"`, the model cannot be used for anything else until training ends. Sharding
   * does not change the format of checkpoints, so a resumed run may change the option. Default "none".
   */
  sharding: option(
    z.enum(shardings, { error: `one of ${shardings.join(", ")}` }).default("none"),
    "with several processes: the state that is divided among them. optimizer: the optimizer's state (ZeRO stage 1); gradients: also the gradients (stage 2); parameters: also the trained weights (stage 3)",
    {
      aliases: "zero zerostage zeroredundancy zerooptimization fsdp fsdpstrategy shardingstrategy deepspeed",
      recorded: false,
    },
  ),
  /**
   * Element type of activations and matrix products. Master weights, optimizer moments and sums are always f32. Default
   * "f32".
   */
  dtype: option(
    z.enum(["bf16", "f32"]).default("f32"),
    "data type of activations and matrix products; master weights and optimizer state are always f32",
    { aliases: "bf16 fp16 fp32 precision mixedprecision torchdtype", recorded: false },
  ),
  /**
   * Round both operands of the linear layers' products, in the forward and the backward pass, to 8-bit floats (e4m3), as in DeepSeek-V3
   * (2024, 3.3). 128 elements of the one operand, and blocks of 128 × 128 of the other, share a scale. Sums, master weights, embeddings,
   * heads, routers, routed experts, norms and attention keep the precision of dtype. The operands of products with frozen quantized weights,
   * or with the low-rank matrices of adapters, are not rounded either. Meant for devices with e4m3 tensor cores; others compute the same,
   * without a gain in speed. Default false.
   */
  fp8: option(
    flag().default(false),
    "round the operands of linear layers' products to 8-bit floats, for e4m3 tensor cores",
    {
      aliases: "float8 fp8training float8training fp8autocast enablefp8 fp8linear float8linear",
    },
  ),
  /**
   * Seed of the data order, new weights, dropout, noise and sampled answers: an integer from 0 to 2⁵³ − 1. Default 0.
   */
  seed: option(
    z.custom<number>(isSeed, SEEDS).default(0),
    "seed of data order, weight initialization, dropout and sampling",
    { aliases: "randomseed" },
  ),
  /** Number of steps between step events, which also go to the log and the trackers. Default 1. */
  loggingSteps: option(whole(1).default(1), "steps between reports", {
    aliases: "log logsteps logevery loginterval",
    recorded: false,
  }),
  /**
   * Skip a step if its loss or gradient is not finite, instead of stopping with NUMERICAL. The weights stay unchanged. The first such step
   * gives a warning, and events and the result count them (`skippedSteps`). Default false.
   */
  skipNonFinite: option(
    flag().default(false),
    "skip steps with a NaN or infinite loss or gradient instead of stopping",
    { recorded: false },
  ),
  /** Stop with NUMERICAL after this number of consecutive skipped steps, because the run has diverged. Default 10. */
  maxConsecutiveSkips: option(whole(1).default(10), "stop after this many skipped steps in a row", {
    recorded: false,
  }),
};

const rate = option(positive().default(3e-4), "peak learning rate", { aliases: "lr maxlr peaklr stepsize" });
const decay = option(real(0).default(0.1), "AdamW weight decay of matrices, scaled by the learning rate", {
  aliases: "wd decay",
});

const MATCH =
  'whole parts of a name between dots ("layers.1"), a RegExp (as a string: "/…/"), a function of a name, or an array of these';
const match = z.custom<ParameterMatch>(isParameterMatch, MATCH);

const groupShape = {
  /**
   * Selects the parameters whose names match; an array matches if any of its elements does. Names are those of weights,
   * or of an adapter's A and B matrices (`….lora_B.default`).
   */
  match: option(
    z.union([match, z.array(match).min(1, MATCH)], { error: MATCH }),
    'parameters of the group: whole parts of a name such as layers.0 or bias, a regular expression "/…/", or an array',
    { aliases: "params parameters pattern" },
  ),
  /**
   * Peak learning rate of the group, on the same schedule. It replaces learningRate (or muonLearningRate for Muon's
   * matrices). Default: the run's rate.
   */
  learningRate: variant(rate, positive().optional(), {
    help: "peak learning rate of the group",
    otherwise: "learningRate of the run",
  }),
  /**
   * Ratio of the group's peak learning rate to learningRate (or muonLearningRate), instead of an absolute rate.
   * Default: 1.
   */
  learningRateRatio: option(positive().optional(), "factor of the run's learning rate, instead of an absolute rate", {
    otherwise: "1",
    aliases: "lrscale lrmult lrratio",
  }),
  /**
   * Weight decay of the group. It replaces weightDecay (or muonWeightDecay), and applies to all parameters of the group, including norms
   * and biases, as in PyTorch's groups. Default: weightDecay, for matrices only.
   */
  weightDecay: variant(decay, real(0).optional(), {
    help: "weight decay of the group, including norms and biases",
    otherwise: "weightDecay of the run",
  }),
  /** Freeze the parameters: they stay unchanged bit for bit, and have no gradients and no moments. Default: false. */
  freeze: option(flag().optional(), "do not train the group", { otherwise: "false", aliases: "frozen" }),
};

/** The schema of a group of parameters with its settings. */
export const parameterGroupSchema = z
  .strictObject(groupShape, { error: "an object with match" })
  .superRefine((group, context) => {
    const { match: _, freeze, ...settings } = group;
    const given = Object.keys(settings).find((name) => settings[name as keyof typeof settings] !== undefined);
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (freeze && given) refuse(given, `no ${given} in a frozen group`);
    else if (group.learningRate !== undefined && group.learningRateRatio !== undefined)
      refuse("learningRateRatio", "either learningRate or learningRateRatio");
    else if (!freeze && !given)
      context.addIssue({
        code: "custom",
        message: "match and learningRate, learningRateRatio, weightDecay or freeze",
      });
  });

/** Parameters matched by name, with separate settings. */
export interface ParameterGroup extends Given<typeof groupShape> {}

/** The learning rate and the optimizer. */
export const optimizerShape = {
  /** Peak of the schedule. Default 3e-4. */
  learningRate: rate,
  /**
   * Shape of the learning rate schedule. cosine and linear reach minLearningRateRatio at the last step. If the ratio is
   * 0, the last step changes nothing. warmup_stable_decay stays at the peak and decays in its last steps (Hu et al.
   * 2024, "MiniCPM"). A run can be resumed with a larger maxSteps from any checkpoint before the decay, with the same
   * result as one run of that length. constant and constant_with_warmup are the same: both respect the warm-up options.
   * A function of `{ step, maxSteps }`, with steps from 1, returns a multiple of learningRate; it is not called during
   * warm-up. Default "cosine".
   */
  lrScheduler: option(
    z
      .union([z.enum(lrSchedulers), z.custom<CustomSchedule>((v) => typeof v === "function")], {
        error: `one of ${lrSchedulers.join(", ")}, or a function of { step, maxSteps }`,
      })
      .default("cosine"),
    "learning-rate schedule. All except the constant ones end at minLearningRateRatio; warmup_stable_decay decays only over the last steps. A module may also give a function of { step, maxSteps }",
    { aliases: "schedule scheduler lrschedule lrschedulertype learningratescheduler" },
  ),
  /**
   * Number of steps in which the learning rate rises to its peak. A run with fewer steps reaches the peak at its last step. Default: 0.
   */
  warmupSteps: option(whole(0).optional(), "linear warmup steps", {
    otherwise: "0",
    aliases: "warmup numwarmupsteps",
  }),
  /** The length of the warm-up as a share of all steps, if warmupSteps is 0. Default: 0. */
  warmupRatio: option(real(0, 1).optional(), "warmup as a fraction of all steps, if warmupSteps is 0", {
    otherwise: "0",
  }),
  /** Final learning rate, as a share of learningRate. Default: 0. */
  minLearningRateRatio: option(real(0, 1).optional(), "final learning rate as a fraction of learningRate", {
    otherwise: "0",
    aliases: "minlr",
  }),
  /** Length of the decay of warmup_stable_decay, in steps. Default: decayRatio of maxSteps. */
  decaySteps: option(whole(1).optional(), "decay steps of warmup_stable_decay", {
    otherwise: "decayRatio of all steps",
    aliases: "numdecaysteps cooldownsteps lrdecaysteps",
  }),
  /** The length of the decay as a share of maxSteps, rounded up. Default: 0.1. */
  decayRatio: option(real(0, 1).optional(), "decay steps as a fraction of all steps", { otherwise: "0.1" }),
  /** Shape of the decay, by transformers' names. Default: cosine, as in transformers. */
  decayType: option(z.enum(decayTypes, { error: `one of ${decayTypes.join(", ")}` }).optional(), "shape of the decay", {
    otherwise: "cosine",
  }),
  /**
   * AdamW's weight decay: decoupled, multiplied by the learning rate, and applied only to matrices, not to norms and biases. Default 0.1.
   */
  weightDecay: decay,
  /** Maximum global L2 norm of the gradient, by clipping; 0: no clipping. Default 1. */
  maxGradNorm: option(real(0).default(1), "clip gradients to this global L2 norm; 0 disables clipping", {
    aliases: "clip gradclip clipgradnorm gradientclipping",
  }),
  /** `muon`: Muon for the matrices of hidden linear layers, AdamW for embeddings, head, norms and all else. Default "adamw". */
  optim: option(
    z.enum(["adamw", "muon"]).default("adamw"),
    "optimizer. muon: Muon for the weight matrices of hidden layers, AdamW for the rest",
    { aliases: "optimizer optimiser" },
  ),
  /** Decay rate of AdamW's mean of gradients. Default 0.9. */
  adamBeta1: option(real(0, 0.999999).default(0.9), "AdamW β1: decay of the gradient's running mean", {
    aliases: "beta1",
  }),
  /** Decay rate of AdamW's mean of squared gradients. Default 0.95. */
  adamBeta2: option(real(0, 0.9999999).default(0.95), "AdamW β2: decay of the squared gradient's running mean", {
    aliases: "beta2",
  }),
  /** Epsilon added to AdamW's denominator, the root of the mean of squared gradients. Default 1e-8. */
  adamEpsilon: option(positive().default(1e-8), "AdamW ε, added to the denominator", { aliases: "eps epsilon" }),
  /** Peak of Muon's learning rate, on the same schedule. Default 0.02. */
  muonLearningRate: option(positive().default(0.02), "peak learning rate of Muon, on the same schedule"),
  /** Momentum of Muon. Default 0.95. */
  muonMomentum: option(real(0, 0.9999).default(0.95), "momentum of Muon"),
  /** Decoupled weight decay of Muon's matrices, multiplied by its learning rate. Default 0. */
  muonWeightDecay: option(real(0).default(0), "weight decay of Muon, scaled by its learning rate"),
  /**
   * Groups of parameters with separate settings, matched by name. Each parameter belongs to the first group that matches it. A resumed run
   * must have its original groups. Default: none.
   */
  parameterGroups: option(
    z.array(parameterGroupSchema, { error: "an array of objects with match" }).optional(),
    "array of parameter groups with their own settings; a parameter joins the first group it matches:",
    {
      aliases: "paramgroups optimgroups layerwiselrdecay nodecay freezelayers frozen lrscale lrmult lrratio",
      inner: parameterGroupSchema.shape,
      recorded: false,
    },
  ),
};
