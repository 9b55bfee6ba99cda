import { z } from "zod";
import type { RowSource } from "../data/rows.ts";
import { describe, HeddleError } from "../errors.ts";
import { expectedOf, gotAt } from "../formats/schema-issue.ts";
import { type LoraConfig, type LoraOptions, loraNames, loraOption, loraOptions } from "../models/lora.ts";
import { decayTypes, lrSchedulers, type OwnSchedule } from "../optim/schedule.ts";
import { type InnerNames, unknownOption } from "./option-names.ts";
import { isParameterMatch, type ParameterMatch } from "./parameter-match.ts";

const whole = (least: number) =>
  z.custom<number>((v) => Number.isSafeInteger(v) && (v as number) >= least, `a whole number of at least ${least}`);
const real = (least: number, most = Number.POSITIVE_INFINITY) =>
  z.custom<number>(
    (v) => typeof v === "number" && v >= least && v <= most,
    most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`,
  );
const above = z.custom<number>((v) => typeof v === "number" && v > 0 && Number.isFinite(v), "a number above 0");

export const paths = z.union([z.string(), z.array(z.string()).min(1)], { error: "a path, or an array of paths" });

/** One of several corpora of raw text. */
const corpusPart = z.strictObject(
  {
    data: paths,
    /** Its share of the sequences is weight / the sum of all weights. */
    weight: above.default(1),
    documentSeparator: z.string({ error: "a text" }).optional(),
    textField: z.string({ error: "a text" }).optional(),
  },
  { error: "an object with data and weight" },
);
const PLACES = "a path, an array of paths, or an array of objects with data and weight";

/** Raw text: files, or several corpora with weights. */
export const corpora = z.union([z.string(), z.array(z.string()).min(1), z.array(corpusPart).min(1)], { error: PLACES });

/** Batches of an earlier stage that are mixed into the steps of a later one. */
export const replaySchema = z.strictObject(
  {
    /** `pretrain`: next tokens of raw text. `sft`: answers of rows as supervised fine-tuning reads them, packed. */
    stage: z.enum(["pretrain", "sft"]).default("pretrain"),
    /** What that stage reads: files; of raw text also several corpora with weights. */
    data: corpora,
    /** Factor of its mean loss beside the stage's own. */
    weight: real(0).default(0.5),
    /** Sequences of the one batch that every step adds. Default: the stage's. */
    perDeviceTrainBatchSize: whole(1).optional(),
    /** Positions of a sequence. Default: the stage's. */
    maxSeqLength: whole(1).optional(),
    documentSeparator: z.string({ error: "a text" }).optional(),
    textField: z.string({ error: "a text" }).optional(),
  },
  { error: "an object with data and weight" },
);

const MATCH =
  "a part of names, a regular expression (in a text between slashes), a function of a name, or an array of them";
const match = z.custom<ParameterMatch>(isParameterMatch, MATCH);

/** Parameters of some names, with settings of their own. */
export interface ParameterGroup {
  /** Which parameters: any of these. Names are those of the weights, of an adapter those of its A and B (`….lora_B.default`). */
  match: ParameterMatch | ParameterMatch[];
  /** Their peak in place of learningRate (of Muon's matrices muonLearningRate), on the same schedule. */
  learningRate?: number | undefined;
  /** Or their share of it. */
  learningRateRatio?: number | undefined;
  /** Their decay in place of weightDecay (muonWeightDecay), of all of them: of norms and biases too, as in PyTorch's groups. */
  weightDecay?: number | undefined;
  /** true: they stay as they are to the byte, and have no gradients and no moments. */
  freeze?: boolean | undefined;
}

export const parameterGroupSchema = z
  .strictObject(
    {
      match: z.union([match, z.array(match).min(1, MATCH)], { error: MATCH }),
      learningRate: above.optional(),
      learningRateRatio: above.optional(),
      weightDecay: real(0).optional(),
      freeze: z.boolean({ error: "true or false" }).optional(),
    } satisfies Record<keyof ParameterGroup, z.ZodType>,
    { error: "an object with match" },
  )
  .superRefine((group, context) => {
    const { match: _, freeze, ...settings } = group;
    const given = Object.keys(settings).find((name) => settings[name as keyof typeof settings] !== undefined);
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (freeze && given) refuse(given, "none beside freeze");
    else if (group.learningRate !== undefined && group.learningRateRatio !== undefined)
      refuse("learningRateRatio", "none beside learningRate");
    else if (!freeze && !given)
      context.addIssue({
        code: "custom",
        message: "learningRate, learningRateRatio, weightDecay or freeze beside match",
      });
  });

/** Measures a model in the middle of its training. */
export type Evaluate = (at: EvaluateAt) => Record<string, number> | Promise<Record<string, number>>;

/** What `evaluate` is given. */
export interface EvaluateAt {
  /** Completed optimiser steps. */
  step: number;
  /** What is trained, as the stage was given it: a LanguageModel, mostly, which it may ask. */
  model: unknown;
  signal?: AbortSignal | undefined;
}

/** Options that every stage has; names follow Hugging Face TRL's trainer configurations. */
export const trainingShape = {
  /** Where checkpoints and the finished model go; without it nothing is written. */
  outputDir: z.string({ error: "a folder" }).min(1, "a folder").optional(),
  /** Optimiser steps in all, those before a resume included. */
  maxSteps: whole(1),
  /** Sequences of one micro-batch. */
  perDeviceTrainBatchSize: whole(1).default(8),
  /** Micro-batches of one optimiser step. */
  gradientAccumulationSteps: whole(1).default(1),
  /** Positions of a sequence. Default: the model's context, at most 1024. */
  maxSeqLength: whole(1).optional(),
  learningRate: above.default(3e-4),
  /**
   * cosine and linear reach minLearningRateRatio with the last step; where that is 0, the last step changes nothing. warmup_stable_decay stays at
   * the peak and falls in its last steps (Hu et al. 2024, "MiniCPM"): a run goes on from any checkpoint before these with more maxSteps as
   * if it had had them from the start. constant and constant_with_warmup are one: both have the warm-up that is asked for. Or a function of
   * `{ step, maxSteps }`, steps from 1, that gives a share of learningRate; steps of the warm-up are not asked for.
   */
  lrScheduler: z
    .union([z.enum(lrSchedulers), z.custom<OwnSchedule>((v) => typeof v === "function")], {
      error: `one of ${lrSchedulers.join(", ")}, or a function of { step, maxSteps }`,
    })
    .default("cosine"),
  /** Of warmup_stable_decay: steps in which the rate falls. */
  decaySteps: whole(1).optional(),
  /** The same as a share of maxSteps, rounded up. Default 0.1. */
  decayRatio: real(0, 1).optional(),
  /** Along which curve, in transformers' names. Default: cosine, as there. */
  decayType: z.enum(decayTypes, { error: `one of ${decayTypes.join(", ")}` }).optional(),
  warmupSteps: whole(0).optional(),
  warmupRatio: real(0, 1).optional(),
  /** Where the schedule ends, as a share of learningRate. */
  minLearningRateRatio: real(0, 1).optional(),
  /** Decoupled, times the learning rate, of matrices alone: norms and biases have none. */
  weightDecay: real(0).default(0.1),
  adamBeta1: real(0, 0.999999).default(0.9),
  adamBeta2: real(0, 0.9999999).default(0.95),
  adamEpsilon: above.default(1e-8),
  /** `muon`: Muon for the matrices of hidden linear layers, AdamW for embeddings, head, norms and all else. */
  optim: z.enum(["adamw", "muon"]).default("adamw"),
  /** Peak of Muon's learning rate, on the same schedule. */
  muonLearningRate: above.default(0.02),
  muonMomentum: real(0, 0.9999).default(0.95),
  /** Decoupled decay of Muon's matrices, times its learning rate. */
  muonWeightDecay: real(0).default(0),
  /**
   * Parameters with settings of their own, by name: each belongs to the first group that it matches. A resumed run has the groups that it
   * began with.
   */
  parameterGroups: z.array(parameterGroupSchema, { error: "an array of objects with match" }).optional(),
  /** Keep the inputs of each layer alone for the backward pass, and compute the rest of it again: less memory, more time. */
  gradientCheckpointing: z.boolean({ error: "true or false" }).default(false),
  /** Largest global L2 norm of the gradient; 0: no clipping. */
  maxGradNorm: real(0).default(1),
  loggingSteps: whole(1).default(1),
  /** Evaluate after every so many steps (where there is evalData), and at the end. */
  evalSteps: whole(1).optional(),
  /**
   * Measures the model as it is, at every evaluation: beside evalData, or without it. It returns numbers by name, which the events and the
   * card have. In a program, or in a configuration that is a module.
   */
  evaluate: z.custom<Evaluate>((v) => typeof v === "function", "a function that returns numbers by name").optional(),
  /** End with the weights of the best evaluation. Its checkpoint is kept beside those that saveTotalLimit keeps. */
  loadBestModelAtEnd: z.boolean({ error: "true or false" }).default(false),
  /** Which evaluation is the best: by evalLoss, the default where there is held-out data, or a metric by its name. */
  metricForBestModel: z.string({ error: "the name of a metric" }).optional(),
  /** Default: false for names that end in "loss", otherwise true. */
  greaterIsBetter: z.boolean({ error: "true or false" }).optional(),
  /** Stop after so many evaluations in a row that are not better than the best. */
  earlyStoppingPatience: whole(1).optional(),
  /** How much better an evaluation must be for that. */
  earlyStoppingThreshold: real(0).default(0),
  /** Batches of the held-out data that an evaluation reads at most; of answers that are drawn, those to whole prompts. */
  evalBatches: whole(1).optional(),
  /** With outputDir: checkpoint after every so many steps, and at the end. Default 500, as in transformers; 0: at the end alone. */
  saveSteps: whole(0).optional(),
  /**
   * Checkpoints that are kept. Default: all. Of those of the default saveSteps, which nobody asked for, each goes when the next one is there;
   * those of other runs in outputDir stay.
   */
  saveTotalLimit: whole(1).optional(),
  /** Element type of activations and matrix products: masters, moments and sums are f32 either way. */
  dtype: z.enum(["bf16", "f32"]).default("f32"),
  /** Element type of the finished model's weights on disk. Default: dtype. */
  saveDtype: z.enum(["bf16", "f16", "f32"]).optional(),
  seed: z.custom<number>((v) => Number.isSafeInteger(v), "a whole number").default(0),
  /** `auto` continues from the newest checkpoint in outputDir where there is one; true demands one; a path names it. */
  resume: z.union([z.boolean(), z.string()], { error: 'true, false, "auto" or a checkpoint\'s path' }).default(false),
  /** Mix batches of an earlier stage into every step, so that the model keeps what it knew. */
  replay: replaySchema.optional(),
  /**
   * Leave a step out when its loss, or its gradient, is not finite, instead of stopping with NUMERICAL: the weights stay as they are, the
   * first such step is told in a warning, and events and the result count them (`skippedSteps`).
   */
  skipNonFinite: z.boolean({ error: "true or false" }).default(false),
  /** Stop with NUMERICAL when so many steps in a row were left out: nothing is learned any more. */
  maxConsecutiveSkips: whole(1).default(10),
  /** For the model card. */
  name: z.string().optional(),
  /** For the model card: the latest date of any training text, as 2024-06-30. */
  trainingCutoffDate: z.string().optional(),
  licence: z.string().optional(),
  /** Further fields of the model card, such as `data` (with licences) and `notes`. */
  card: z.record(z.string(), z.unknown(), { error: "an object of model card fields" }).optional(),
} as const;

/** Options of the stages whose loss is next-token cross-entropy. */
export const crossEntropyShape = {
  /** Adds zLoss · logsumexp² of the logits at each counted position, in training alone: logits stay small. PaLM has 1e-4. */
  zLoss: real(0).default(0),
  /**
   * Share of the target that goes to all tokens alike, in training alone, as transformers' label_smoothing_factor (which smooths its held-out loss
   * too). Not of models that cap their logits (Gemma 2), nor over quantised weights.
   */
  labelSmoothingFactor: real(0, 0.99).default(0),
  /**
   * A step whose loss is so many standard deviations above the mean of the last hundred is a spike (after twenty of them; at least 0.02
   * nats and 5 % of the mean count as one): the first is told in a warning, events and the result count them (`lossSpikes`). 0: none is looked for.
   */
  lossSpikeThreshold: real(0).default(6),
  /** Leave such a step out, as skipNonFinite does others (PaLM skipped the batches of its spikes). */
  skipLossSpikes: z.boolean({ error: "true or false" }).default(false),
} as const;

/** Rows of a stage: paths in a configuration file, in a program also the rows themselves. */
export const rowData = z.custom<RowSource>(
  (v) =>
    (typeof v === "string" && v !== "") ||
    (typeof v === "object" && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v)),
  "a path, an array of paths, or an iterable of rows",
);

/** Options of the stages that can train an adapter instead of the weights. */
export const adapterShape = {
  /**
   * Train a LoRA adapter, and leave the weights as they are. An adapter that is there already is trained further, and
   * options that contradict it are refused. Without: the weights,
   * into which active adapters are merged first (refused where these are quantised).
   */
  lora: z
    .custom<LoraOptions>()
    .transform((options) => stageLora(options)) // throws with the name of what is wrong
    .optional(),
  /** The adapter's name. */
  adapter: z.string().default("default"),
} as const;

/** As loraOptions, and a name of another library is an error that says which option is meant. */
function stageLora(given: LoraOptions): Partial<LoraConfig> {
  if (typeof given === "object" && given !== null)
    for (const key of Object.keys(given))
      if (loraOption(key) === undefined) throw unknownOption("lora", key, loraNames);
  return loraOptions(given);
}

/** Checked options that every stage has; those of adapters where the stage takes them. */
export type TrainingOptions = z.output<z.ZodObject<typeof trainingShape>> &
  Partial<z.output<z.ZodObject<typeof adapterShape>>>;

/** The options of a call, before they are taken apart. @throws HeddleError INVALID_ARGUMENT where they are no object */
export function givenOptions<T extends object>(options: T, where: string): T {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new HeddleError("INVALID_ARGUMENT", `${where}: expected an object of options, got ${describe(options)}`);
  return options;
}

/** Validates options against a strict schema: an unknown key is an error that names the one that is most likely meant. */
export function parseOptions<S extends z.ZodObject>(schema: S, value: unknown, where: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = innermost(parsed.error.issues[0]!);
  if (issue.code === "unrecognized_keys") {
    const place = [where, ...issue.path.map(String)].join(".");
    throw unknownKey(objectAt(schema, issue.path), issue.keys[0]!, place);
  }
  const name = issue.path.map(String).join(".") || where;
  throw new HeddleError("INVALID_ARGUMENT", `${name}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`);
}

/**
 * Throws for the first name that a stage does not have: before anything is loaded that the other options name.
 * @param more names that whoever runs the stage takes for itself
 * @throws HeddleError INVALID_ARGUMENT
 */
export function needKnownNames(
  schema: z.ZodObject,
  options: Readonly<Record<string, unknown>>,
  where: string,
  more: readonly string[] = [],
): void {
  for (const key of Object.keys(options))
    if (!Object.hasOwn(schema.shape, key) && !more.includes(key)) throw unknownKey(schema, key, where, more);
}

function unknownKey({ shape }: z.ZodObject, key: string, where: string, more: readonly string[] = []): HeddleError {
  return unknownOption(where, key, [...more, ...Object.keys(shape)], innerNames(shape));
}

/** Names of the keys inside a stage's options that are objects. */
export function innerNames(shape: z.ZodObject["shape"]): InnerNames {
  return {
    ...("lora" in shape && { lora: loraNames }),
    ...("replay" in shape && { replay: Object.keys(replaySchema.shape) }),
    ...("parameterGroups" in shape && { parameterGroups: Object.keys(parameterGroupSchema.shape) }),
  };
}

/** Of a value that is none of several kinds: what is wrong inside it, where it is of a kind that has an inside. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const firsts = issue.errors.map(([first]) => first);
  const inner = firsts.find((one) => one && (one.path.length > 1 || one.code === "unrecognized_keys"));
  return inner ? { ...inner, path: [...issue.path, ...inner.path] } : issue;
}

/** The schema of an object of options inside others. */
function objectAt(schema: z.ZodObject, path: readonly PropertyKey[]): z.ZodObject {
  let at: unknown = schema;
  for (const key of path) {
    at = at instanceof z.ZodArray ? at.element : (at as z.ZodObject).shape[key as string];
    while (at instanceof z.ZodOptional || at instanceof z.ZodDefault) at = at.unwrap();
    if (at instanceof z.ZodUnion)
      at = at.options.find((kind) => kind instanceof z.ZodArray && kind.element instanceof z.ZodObject);
  }
  return at as z.ZodObject;
}
