// Schemas of the options that stages share. `stage-options.ts` documents the options.
import { z } from "zod";
import { describe, HeddleError, isSeed, SEEDS } from "../../core/errors.ts";
import { expectedOf, gotAt } from "../../core/schema-issue.ts";
import type { RowSource } from "../../data/rows.ts";
import { type LoraConfig, type LoraOptions, loraNames, loraOption, loraOptions } from "../../models/adapters/lora.ts";
import { decayTypes, lrSchedulers, type OwnSchedule } from "../../optim/schedule.ts";
import { isTexts } from "../examples/text-files.ts";
import { type InnerNames, unknownOption } from "./option-names.ts";
import { isParameterMatch, type ParameterMatch } from "./parameter-match.ts";
import type { Evaluate, ParameterGroup, TextSource } from "./stage-options.ts";

const whole = (least: number) =>
  z.custom<number>((v) => Number.isSafeInteger(v) && (v as number) >= least, `a whole number of at least ${least}`);
const real = (least: number, most = Number.POSITIVE_INFINITY) =>
  z.custom<number>(
    (v) => typeof v === "number" && v >= least && v <= most,
    most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`,
  );
const above = z.custom<number>((v) => typeof v === "number" && v > 0 && Number.isFinite(v), "a number above 0");

export const paths = z.union([z.string(), z.array(z.string()).min(1)], { error: "a path, or an array of paths" });

/** `CorpusPart` as a schema. */
const corpusPart = z.strictObject(
  {
    data: paths,
    weight: above.default(1),
    documentSeparator: z.string({ error: "a text" }).optional(),
    textField: z.string({ error: "a text" }).optional(),
  },
  { error: "an object with data and weight" },
);
const PLACES = "a path, an array of paths, or an array of objects with data and weight";

/** Raw text: files, or several corpora with weights. */
export const corpora = z.union([z.string(), z.array(z.string()).min(1), z.array(corpusPart).min(1)], { error: PLACES });

/** The same, or in a program the texts. */
export const textData = z.union([...corpora.options, z.custom<TextSource>(isTexts)], {
  error: `${PLACES}, or an iterable of texts`,
});

/** `ReplayOptions` as a schema. */
export const replaySchema = z.strictObject(
  {
    stage: z.enum(["pretrain", "sft"]).default("pretrain"),
    data: corpora,
    weight: real(0).default(0.5),
    perDeviceTrainBatchSize: whole(1).optional(),
    maxSeqLength: whole(1).optional(),
    documentSeparator: z.string({ error: "a text" }).optional(),
    textField: z.string({ error: "a text" }).optional(),
  },
  { error: "an object with data and weight" },
);

const MATCH =
  "a part of names, a regular expression (in a text between slashes), a function of a name, or an array of them";
const match = z.custom<ParameterMatch>(isParameterMatch, MATCH);

/** `ParameterGroup` as a schema. */
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

/** `SharedOptions` and maxSteps as a schema. */
export const trainingShape = {
  outputDir: z.string({ error: "a folder" }).min(1, "a folder").optional(),
  maxSteps: whole(1),
  perDeviceTrainBatchSize: whole(1).default(8),
  gradientAccumulationSteps: whole(1).default(1),
  maxSeqLength: whole(1).optional(),
  learningRate: above.default(3e-4),
  lrScheduler: z
    .union([z.enum(lrSchedulers), z.custom<OwnSchedule>((v) => typeof v === "function")], {
      error: `one of ${lrSchedulers.join(", ")}, or a function of { step, maxSteps }`,
    })
    .default("cosine"),
  decaySteps: whole(1).optional(),
  decayRatio: real(0, 1).optional(),
  decayType: z.enum(decayTypes, { error: `one of ${decayTypes.join(", ")}` }).optional(),
  warmupSteps: whole(0).optional(),
  warmupRatio: real(0, 1).optional(),
  minLearningRateRatio: real(0, 1).optional(),
  weightDecay: real(0).default(0.1),
  adamBeta1: real(0, 0.999999).default(0.9),
  adamBeta2: real(0, 0.9999999).default(0.95),
  adamEpsilon: above.default(1e-8),
  optim: z.enum(["adamw", "muon"]).default("adamw"),
  muonLearningRate: above.default(0.02),
  muonMomentum: real(0, 0.9999).default(0.95),
  muonWeightDecay: real(0).default(0),
  parameterGroups: z.array(parameterGroupSchema, { error: "an array of objects with match" }).optional(),
  gradientCheckpointing: z.boolean({ error: "true or false" }).default(false),
  maxGradNorm: real(0).default(1),
  loggingSteps: whole(1).default(1),
  evalSteps: whole(1).optional(),
  evaluate: z
    .custom<Evaluate<unknown>>((v) => typeof v === "function", "a function that returns numbers by name")
    .optional(),
  loadBestModelAtEnd: z.boolean({ error: "true or false" }).default(false),
  metricForBestModel: z.string({ error: "the name of a metric" }).optional(),
  greaterIsBetter: z.boolean({ error: "true or false" }).optional(),
  earlyStoppingPatience: whole(1).optional(),
  earlyStoppingThreshold: real(0).default(0),
  evalBatches: whole(1).optional(),
  saveSteps: whole(0).optional(),
  saveTotalLimit: whole(1).optional(),
  dtype: z.enum(["bf16", "f32"]).default("f32"),
  saveDtype: z.enum(["bf16", "f16", "f32"]).optional(),
  seed: z.custom<number>(isSeed, SEEDS).default(0),
  resume: z.union([z.boolean(), z.string()], { error: 'true, false, "auto" or a checkpoint\'s path' }).default(false),
  allowChangedOptions: z.boolean({ error: "true or false" }).default(false),
  overwriteOutputDir: z.boolean({ error: "true or false" }).default(false),
  replay: replaySchema.optional(),
  skipNonFinite: z.boolean({ error: "true or false" }).default(false),
  maxConsecutiveSkips: whole(1).default(10),
  name: z.string().optional(),
  trainingCutoffDate: z.string().optional(),
  licence: z.string().optional(),
  card: z.record(z.string(), z.unknown(), { error: "an object of model card fields" }).optional(),
} as const;

/** `NextTokenLossOptions` as a schema. */
export const crossEntropyShape = {
  zLoss: real(0).default(0),
  labelSmoothingFactor: real(0, 0.99).default(0),
  lossSpikeThreshold: real(0).default(6),
  skipLossSpikes: z.boolean({ error: "true or false" }).default(false),
} as const;

/** Rows of a stage: paths in a configuration file, or in a program also the rows. */
export const rowData = <Row>() =>
  z.custom<RowSource<Row>>(
    (v) =>
      (typeof v === "string" && v !== "") ||
      (typeof v === "object" && v !== null && (Symbol.iterator in v || Symbol.asyncIterator in v)),
    "a path, an array of paths, or an iterable of rows",
  );

/** `AdapterOptions` as a schema. */
export const adapterShape = {
  lora: z
    .custom<LoraOptions>()
    .transform((options) => stageLora(options)) // throws with the name of the wrong option
    .optional(),
  adapter: z.string().default("default"),
} as const;

/** Like loraOptions, but for another library's name, the error says which option is meant. */
function stageLora(given: LoraOptions): Partial<LoraConfig> {
  if (typeof given === "object" && given !== null)
    for (const key of Object.keys(given))
      if (loraOption(key) === undefined) throw unknownOption("lora", key, loraNames);
  return loraOptions(given);
}

/** Validated options that every stage has, and adapter options if the stage takes them. */
export type TrainingOptions = z.output<z.ZodObject<typeof trainingShape>> &
  Partial<z.output<z.ZodObject<typeof adapterShape>>>;

/** Checks that the options of a call are an object, before they are destructured. @throws HeddleError INVALID_ARGUMENT */
export function givenOptions<T extends object>(options: T, where: string): T {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new HeddleError("INVALID_ARGUMENT", `${where}: expected an object of options, got ${describe(options)}`);
  return options;
}

/** Validates options against a strict schema. The error for an unknown key suggests the option that is most likely meant. */
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
 * Throws for the first unknown option name, before loading any file that other options refer to.
 * @param more names that the caller of the stage handles itself
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

/** Returns the keys of a stage's options that are objects. */
export function innerNames(shape: z.ZodObject["shape"]): InnerNames {
  return {
    ...("lora" in shape && { lora: loraNames }),
    ...("replay" in shape && { replay: Object.keys(replaySchema.shape) }),
    ...("parameterGroups" in shape && { parameterGroups: Object.keys(parameterGroupSchema.shape) }),
  };
}

/** Narrows a union's issue: if the value matches a kind that is an object, returns the issue inside it. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const firsts = issue.errors.map(([first]) => first);
  const inner = firsts.find((one) => one && (one.path.length > 1 || one.code === "unrecognized_keys"));
  return inner ? { ...inner, path: [...issue.path, ...inner.path] } : issue;
}

/** The schema of a nested object of options. */
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
