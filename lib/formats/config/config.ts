// A model's configuration, normalized from config.json (with `rope_theta` or with `rope_parameters`) or from camelCase options.
import { z } from "zod";
import { describe, HeddleError, type HeddleErrorCode } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { expectedName, nearest } from "../../core/nearest-name.ts";
import { expectedOf, gotAt } from "../../core/schema-issue.ts";
import { flag, positive, whole } from "../../core/schema-parts.ts";
import { checkEmbedding, embeddingSchema } from "../sentence-transformers/embedding-schema.ts";
import { check, rotaryDim } from "./config-check.ts";
import { snakeToCamel } from "./config-json.ts";
import type { ModelConfig } from "./config-types.ts";
import { formatOf, isModelType } from "./families.ts";
import type { CustomValue } from "./family-format.ts";
import { describeUnknown } from "./missing-features.ts";
import { languageModelConfig } from "./multimodal.ts";
import { unrotatedEvery } from "./positions.ts";
import { ropeScalingSchema } from "./rope-scaling.ts";
import { layerTypesOf } from "./windows.ts";

export type {
  ClassifierConfig,
  ClassifierConfigInput,
  EmbeddingConfig,
  EmbeddingLayer,
  ModelConfig,
  ModelConfigInput,
  PoolingMode,
} from "./config-types.ts";
export { rotaryDim };

// Special token ids may be above vocabSize: some published files have such ids, and no table is indexed with them.
const tokenId = whole(0, 2 ** 31 - 1);

const CUSTOM_KINDS = "true, false, null, a finite number, a text, or an array of finite numbers";
const MAX_CUSTOM = 4096;

/** Whether a value can be a custom configuration value of a family, which config.json and GGUF store. */
export function isCustomValue(value: unknown): value is CustomValue {
  if (Array.isArray(value)) return value.length <= MAX_CUSTOM && value.every((n) => Number.isFinite(n));
  return typeof value === "string"
    ? value.length <= MAX_CUSTOM
    : value === null || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value));
}

const classifierSchema = z.strictObject({
  task: z.enum(["sequence", "token"]),
  labels: z
    .array(z.string().max(1000), { error: "an array of names" })
    .min(1, "at least one name")
    .max(65536)
    .refine((names) => new Set(names).size === names.length, "distinct names"),
  problemType: z
    .enum(["single_label_classification", "multi_label_classification", "regression"])
    .default("single_label_classification"),
  pooling: z.enum(["last", "mean", "first"]).default("last"),
  temperature: z
    .custom<number>((v) => typeof v === "number" && v > 0 && v <= 1e6, "a number above 0 and at most 1000000")
    .optional(),
});

/** `config-types.ts` documents the fields. The limits are far above every published model. They keep hostile files from large allocations. */
export const modelConfigSchema = z.strictObject({
  modelType: z.custom<string>(isModelType, "a known family"),
  vocabSize: whole(1, 2 ** 22),
  hiddenSize: whole(1, 2 ** 17),
  intermediateSize: whole(1, 2 ** 20),
  numHiddenLayers: whole(1, 1024),
  numAttentionHeads: whole(1, 4096),
  numKeyValueHeads: whole(1, 4096),
  headDim: whole(1, 4096),
  maxPositionEmbeddings: whole(1, 2 ** 30),
  rmsNormEps: positive(1),
  layerNormEpsilon: positive(1),
  ropeTheta: positive(1e15),
  ropeScaling: ropeScalingSchema.nullable(),
  slidingWindow: whole(1, 2 ** 30).nullable(),
  layerTypes: z.array(z.enum(["full_attention", "sliding_attention"])).max(1024),
  tieWordEmbeddings: flag(),
  attentionBias: flag(),
  mlpBias: flag(),
  hiddenAct: z.enum(["silu", "gelu", "gelu_pytorch_tanh"]),
  initializerRange: positive(10),
  bosTokenId: tokenId.nullable(),
  eosTokenIds: z.array(tokenId, { error: "an array of token ids" }).max(64),
  padTokenId: tokenId.nullable(),
  dtype: z.enum(["f32", "f16", "bf16"]).nullable(),

  // Fields of some families only.
  useBidirectionalAttention: flag().optional(),
  partialRotaryFactor: positive(1).optional(),
  ropeLocalTheta: positive(1e15).optional(),
  noRopeLayers: z.array(whole(0, 1), { error: "an array of 0 and 1" }).max(1024).optional(),
  queryPreAttnScalar: positive(1e6).optional(),
  attnLogitSoftcapping: positive(1e6).nullable().optional(),
  finalLogitSoftcapping: positive(1e6).nullable().optional(),
  embeddingMultiplier: positive(1e6).optional(),
  attentionMultiplier: positive(1e6).optional(),
  residualMultiplier: positive(1e6).optional(),
  logitsScaling: positive(1e6).optional(),
  numExperts: whole(1, 4096).optional(),
  numExpertsPerTok: whole(1, 4096).optional(),
  moeIntermediateSize: whole(1, 2 ** 20).optional(),
  sharedExpertIntermediateSize: whole(1, 2 ** 20).optional(),
  normTopkProb: flag().optional(),
  decoderSparseStep: whole(0, 1024).optional(),
  mlpOnlyLayers: z.array(whole(0, 1023), { error: "an array of layer numbers" }).max(1024).optional(),
  swigluLimit: positive(1e6).optional(),
  useParallelResidual: flag().optional(),
  logitScale: positive(1e6).optional(),
  useQkNorm: flag().optional(),
  typeVocabSize: whole(1, 2 ** 16).optional(),
  embeddingSize: whole(1, 2 ** 17).optional(),
  custom: z.record(z.string(), z.custom<CustomValue>(isCustomValue, CUSTOM_KINDS)).optional(),
  architectures: z.array(z.string().max(200)).max(16).optional(),
  classifier: classifierSchema.optional(),
  embedding: embeddingSchema.optional(),
  valueHead: flag().optional(),
});

/**
 * Normalizes and validates a configuration. `value` is the content of a config.json, with `model_type`, or camelCase options with
 * `modelType`, such as a ModelConfig. Unknown keys are refused in options. In config.json they are ignored, as in transformers. Sizes that
 * are missing in options are derived from hiddenSize.
 *
 * @param path names the file in messages and makes errors INVALID_FILE instead of INVALID_ARGUMENT
 * @throws HeddleError UNSUPPORTED for an unsupported model type or feature
 */
export function parseModelConfig(value: unknown, path?: string): ModelConfig {
  return read(value, path);
}

/**
 * Returns the configuration of a new model. Missing sizes are derived from hiddenSize, even if `value` is the content of a config.json.
 * @param defaults values of missing keys, in camelCase
 */
export function newModelConfig(value: unknown, defaults: Readonly<Record<string, unknown>>): ModelConfig {
  return read(value, undefined, defaults);
}

function read(value: unknown, path: string | undefined, defaults?: Readonly<Record<string, unknown>>): ModelConfig {
  const where = path ?? "model configuration";
  const invalid = path === undefined ? "INVALID_ARGUMENT" : "INVALID_FILE";
  const fail = (message: string, code: HeddleErrorCode = invalid) => new HeddleError(code, `${where}: ${message}`);
  if (!isObject(value)) {
    throw fail(`expected an object, got ${describe(value)}`);
  }
  const fromJson = !Object.hasOwn(value, "modelType");
  const raw = fromJson ? languageModelConfig(value) : value;
  const modelType = fromJson ? raw.model_type : raw.modelType;
  if (!isModelType(modelType)) {
    if (modelType === undefined)
      throw fail(`${path === undefined ? "modelType" : "model_type"}: expected a string, got nothing`);
    // `text_config` of a multimodal configuration may omit values that its language model needs.
    const parts = [raw, raw.text_config].filter((part): part is object => typeof part === "object" && part !== null);
    const values = parts.flatMap((part) => Object.entries(part));
    const set = new Map(values.filter(([, entry]) => entry !== null && entry !== false));
    const what = describeUnknown({
      name: modelType,
      value: (key) => set.get(key),
      keys: fromJson ? [...set.keys()] : [],
    });
    throw new HeddleError(
      "UNSUPPORTED",
      `${where}: model_type ${describe(modelType)} is not supported (${what}; registerFamily adds types)`,
    );
  }
  const given = fromJson ? snakeToCamel(raw, modelType, where) : { ...raw };
  for (const key of Object.keys(given)) if (given[key] === undefined) delete given[key];
  for (const [key, standard] of Object.entries(defaults ?? {})) {
    // Special tokens that a config.json lacks arrive as null or as an empty list.
    const isMissing = given[key] === undefined || (fromJson && (given[key] === null || String(given[key]) === ""));
    if (isMissing) given[key] = standard;
  }
  // Accept transformers' name `eosTokenId`, with one id or several.
  if (!fromJson && Object.hasOwn(given, "eosTokenId")) {
    const ids = given.eosTokenId;
    given.eosTokenIds ??= ids === null ? [] : Array.isArray(ids) ? ids : [ids];
    delete given.eosTokenId;
  }
  const parsed = modelConfigSchema.safeParse(
    withDefaults(given, modelType, fromJson, !fromJson || defaults !== undefined),
  );
  if (!parsed.success)
    throw fail(underivableSize(given, parsed.error.issues, fromJson) ?? firstIssue(parsed.error, given, fromJson));
  checkCustom(parsed.data, fail);
  check(parsed.data, (message, code) => fail(fromJson ? message : toCamelCase(message), code));
  checkEmbedding(parsed.data, fail);
  return parsed.data;
}

/**
 * Fills in missing values. Values of a wrong type stay as they are, and the schema reports them.
 * @param fromJson whether the values are from a config.json, so that `fileDefaults` apply
 * @param derives whether missing sizes are derived from hiddenSize
 */
function withDefaults(
  given: Record<string, unknown>,
  modelType: string,
  fromJson: boolean,
  derives: boolean,
): Record<string, unknown> {
  const { defaults, encoder, fileDefaults, noRopeEvery, custom, positions, windows, windowsUnscaled } =
    formatOf(modelType);
  const hidden = typeof given.hiddenSize === "number" ? given.hiddenSize : 0;
  const heads = given.numAttentionHeads ?? (derives ? defaultHeads(hidden) : undefined);
  const headDim = typeof heads === "number" && heads > 0 ? hidden / heads : undefined;
  // Clamp to one more than the schema's limit of 1024. The lists below then stay short, and the schema still refuses the number.
  const layers = Number.isSafeInteger(given.numHiddenLayers)
    ? Math.min(Math.max(given.numHiddenLayers as number, 0), 1025)
    : 0;
  const rotates = noRopeEvery && (given.noRopeLayers ?? unrotatedEvery(noRopeEvery, layers));
  const usual = windows.kind === "pattern" || windows.kind === "global" ? windows.otherwise : null;
  const window = given.slidingWindow === undefined ? usual : given.slidingWindow;
  const config: Record<string, unknown> = {
    // GPT-2's config.json may omit this size: its key is `n_inner`, which may be null.
    intermediateSize: derives || (positions && !encoder) ? defaultIntermediate(hidden, modelType) : undefined,
    numKeyValueHeads: heads,
    headDim,
    layerNormEpsilon: 1e-5,
    ropeScaling: null,
    slidingWindow: window,
    layerTypes:
      window === null
        ? Array(layers).fill("full_attention")
        : layerTypesOf(windows, layers, { rotates: Array.isArray(rotates) ? rotates : undefined }),
    tieWordEmbeddings: false,
    attentionBias: false,
    mlpBias: false,
    initializerRange: 0.02,
    bosTokenId: null,
    eosTokenIds: [],
    padTokenId: null,
    dtype: null,
    ...(derives ? derived(modelType, given.headDim ?? headDim, hidden) : {}),
    ...(rotates !== undefined && { noRopeLayers: rotates }),
    ...defaults,
    ...(fromJson && fileDefaults),
    ...given,
    ...(custom && (given.custom === undefined || isObject(given.custom)) && { custom: { ...custom, ...given.custom } }),
    modelType,
    numAttentionHeads: heads,
  };
  // The position table of RoBERTa's families begins after the padding id, so there must be one.
  if (config.padTokenId === null && positions === "behind padding") config.padTokenId = defaults.padTokenId;
  if (windowsUnscaled) config.ropeLocalTheta ??= config.ropeTheta;
  return config;
}

/** Checks custom values of a family: each name must be one of the family's, and each value must have its default's type. */
function checkCustom({ modelType, custom }: ModelConfig, fail: (message: string) => HeddleError): void {
  const defaults = formatOf(modelType).custom ?? {};
  for (const [name, value] of Object.entries(custom ?? {})) {
    const usual = Object.hasOwn(defaults, name) ? defaults[name] : undefined;
    if (usual === undefined) {
      const names = Object.keys(defaults);
      const expected = expectedName(nearest(name, names), names, `custom value of ${modelType}`);
      throw fail(`custom.${name}: expected ${expected}, got an unknown one`);
    }
    const isUnset = usual === null && value === null;
    const type = usual === null ? "number" : typeof usual;
    const kind = Array.isArray(usual) ? "an array of numbers" : `a ${type}${usual === null ? " or null" : ""}`;
    if (!isUnset && (value === null || typeof value !== type || Array.isArray(value) !== Array.isArray(usual)))
      throw fail(`custom.${name}: expected ${kind}, got ${describe(value)}`);
  }
}

/** Derives missing sizes from hiddenSize and the head width. */
function derived(modelType: string, headDim: unknown, hidden: number): Record<string, unknown> {
  // Each token uses two of eight experts. An expert is half as wide as a dense block, so the work per token is the
  // same.
  const half = Math.ceil(defaultIntermediate(hidden, modelType) / 2);
  const experts = { numExperts: 8, numExpertsPerTok: 2 };
  const { derive, experts: { width, shared } = {}, fileDefaults } = formatOf(modelType);
  const part = fileDefaults?.partialRotaryFactor;
  return {
    ...(width && { ...experts, [width]: half, ...(shared && { sharedExpertIntermediateSize: half }) }),
    ...(typeof headDim === "number" && {
      ...(part !== undefined && { partialRotaryFactor: partOf(headDim, part) }),
      ...derive?.({ hiddenSize: hidden, headDim }),
    }),
  };
}

/**
 * Returns the family's usual rotary fraction of a head, doubled or quadrupled if needed for an even number of
 * dimensions.
 */
function partOf(headDim: number, usual: number): number {
  return usual === 1 || (headDim * usual) % 2 === 0 ? usual : partOf(headDim, 2 * usual);
}

/** Returns the default number of heads. The head width is the even divisor of hiddenSize that is nearest to 64. */
function defaultHeads(hiddenSize: number): number | undefined {
  let best: number | undefined;
  for (let width = 2; width <= Math.min(hiddenSize, 256); width += 2) {
    if (hiddenSize % width === 0 && (best === undefined || Math.abs(width - 64) < Math.abs(best - 64))) best = width;
  }
  return best === undefined ? undefined : hiddenSize / best;
}

function defaultIntermediate(hiddenSize: number, modelType: string): number {
  if (formatOf(modelType).positions || formatOf(modelType).ungated) return 4 * hiddenSize;
  return Math.ceil((8 * hiddenSize) / 3 / 64) * 64; // 8/3 gives a gated block as many parameters as a plain one with 4 × hiddenSize
}

/** Replaces the config.json keys in a message by their camelCase names. */
function toCamelCase(message: string): string {
  const named = (key: string) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return message.replace(/\b[a-z]+(_[a-z]+)+\b/g, (key) =>
    Object.hasOwn(modelConfigSchema.shape, named(key)) ? named(key) : key,
  );
}

/**
 * Returns the message for an unknown key, or for a hiddenSize from which the missing headDim or numAttentionHeads cannot
 * be derived. Returns undefined if the first issue is another one.
 */
function underivableSize(given: Record<string, unknown>, issues: readonly z.core.$ZodIssue[], fromJson: boolean) {
  // Report unknown keys first, because an unknown key may be a misspelling of the missing key.
  const unknown = issues.find((issue) => issue.code === "unrecognized_keys");
  if (unknown && unknown.path.length === 0) return firstIssue({ issues: [unknown] }, given, fromJson);
  const { hiddenSize, numAttentionHeads: heads } = given;
  const first = issues[0]!.path[0];
  const spelt = fromJson ? String : toCamelCase;
  if (!Number.isSafeInteger(hiddenSize) || (first !== "headDim" && first !== "numAttentionHeads")) return undefined;
  if (given[first] !== undefined) return undefined;
  if (first === "headDim" && Number.isSafeInteger(heads))
    return spelt(
      `hidden_size: expected a multiple of num_attention_heads ${heads}, or an explicit head_dim, got ${hiddenSize}`,
    );
  // A config.json must have num_attention_heads, so the general message applies.
  if (first === "headDim" || fromJson) return undefined;
  return `hiddenSize: expected a multiple of an even headDim up to 256, or explicit numAttentionHeads and headDim, got ${hiddenSize}`;
}

function firstIssue(error: Pick<z.ZodError, "issues">, given: Record<string, unknown>, fromJson: boolean): string {
  const issue = error.issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!;
    const near = nearest(key, Object.keys(modelConfigSchema.shape));
    const hint = key.includes("_") ? "a camelCase key, or a config.json with model_type" : "a known key";
    return `${key}: expected ${near === undefined ? hint : `${hint} (nearest: ${near})`}, got an unknown one`;
  }
  const name = issue.path.map(String).join(".");
  const shown = fromJson ? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : name;
  return `${shown}: expected ${expectedOf(issue)}, got ${gotAt(issue, given)}`;
}
