// Converts between config.json of transformers and the camelCase names of ModelConfig.
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { JsonFields } from "../../io/json.ts";
import { ACTIVATIONS, isActivation } from "./activations.ts";
import type { ModelConfig } from "./config-types.ts";
import { formatOf, isRegistered } from "./families.ts";
import { headsFromJson, headsToJson } from "./heads.ts";
import { firstPosition, unrotatedEvery } from "./positions.ts";
import { readRope, ropeToJson } from "./rope-json.ts";
import { layerTypesOf, periodOf } from "./windows.ts";

/** Keys that all families share. They differ from ModelConfig's fields only in spelling. */
const COMMON: Readonly<Record<string, keyof ModelConfig>> = {
  vocab_size: "vocabSize",
  tie_word_embeddings: "tieWordEmbeddings",
  initializer_range: "initializerRange",
  architectures: "architectures",
};

/** Keys of families that use Llama's key names. */
const LLAMA: Readonly<Record<string, keyof ModelConfig>> = {
  hidden_size: "hiddenSize",
  intermediate_size: "intermediateSize",
  num_hidden_layers: "numHiddenLayers",
  num_attention_heads: "numAttentionHeads",
  num_key_value_heads: "numKeyValueHeads",
  head_dim: "headDim",
  max_position_embeddings: "maxPositionEmbeddings",
  rms_norm_eps: "rmsNormEps",
  rope_theta: "ropeTheta",
  layer_types: "layerTypes",
  attention_bias: "attentionBias",
  mlp_bias: "mlpBias",
};

const DTYPES: Readonly<Record<string, NonNullable<ModelConfig["dtype"]>>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
};
const TORCH_DTYPES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/** Keys whose null means "off" rather than "not set". */
const OFF = new Set<keyof ModelConfig>(["attnLogitSoftcapping", "finalLogitSoftcapping"]);

/**
 * Required values for all decoders, in addition to a family's `mustBe`. In families that support bidirectional
 * attention, the opposite value of the key `bidirectional.key` turns it on.
 */
const DECODERS_MUST_BE = { is_causal: true, use_bidirectional_attention: false } as const;

/** Converts config.json to camelCase, with transformers' rules for the family. modelConfigSchema checks the types later. */
export function snakeToCamel(raw: JsonFields, modelType: string, where: string): JsonFields {
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${where}: ${message}`);
  checkQuantization(raw.quantization_config, modelType, unsupported);
  const config: JsonFields = {};
  for (const [from, to] of Object.entries(keysOf(modelType))) {
    // null means "not set" in config.json.
    if (Object.hasOwn(raw, from) && (raw[from] !== null || OFF.has(to))) config[to] = raw[from];
  }
  for (const [from, to] of Object.entries(formatOf(modelType).otherKeys ?? {})) config[to] ??= raw[from] ?? undefined;
  // If one of the next two keys is null, its value follows from other sizes, as in transformers' configuration classes.
  if (raw.num_key_value_heads === null) config.numKeyValueHeads = config.numAttentionHeads;
  if (raw.head_dim === null)
    config.headDim = Math.floor(Number(raw.hidden_size) / Number(raw.num_attention_heads)) || undefined;
  const longest = raw[formatOf(modelType).longestKey ?? ""];
  if (Number.isSafeInteger(longest) && Number(longest) > Number(config.maxPositionEmbeddings ?? 0))
    config.maxPositionEmbeddings = longest;
  const { mustBe, fixed, bidirectional, layerKind, encoder, architecture } = formatOf(modelType);
  // A registered family may compute anything, so the keys of DECODERS_MUST_BE are checked only if it declares
  // `bidirectional`.
  const decodes = !encoder && (bidirectional !== undefined || !isRegistered(modelType));
  for (const [key, value] of Object.entries({ ...(decodes && DECODERS_MUST_BE), ...mustBe, ...fixed })) {
    const got = raw[key];
    if (key === bidirectional?.key && got === !value) {
      config.useBidirectionalAttention = true;
      continue;
    }
    // Families with a layerKind must state `fixed` keys, because transformers' defaults have other values (Granite 4).
    const isSet = (got ?? null) !== null || (layerKind !== undefined && Object.hasOwn(fixed ?? {}, key));
    if (isSet && got !== value) throw unsupported(`${key}: ${describe(got)} is not supported`);
  }
  const custom = Object.keys(formatOf(modelType).custom ?? {}).filter(
    (name) => (raw[snakeCase(name)] ?? null) !== null,
  );
  if (custom.length > 0) config.custom = Object.fromEntries(custom.map((name) => [name, raw[snakeCase(name)]]));
  readActivation(raw, modelType, config, unsupported);
  readTokens(raw, config);
  readPositions(modelType, config, where);
  if (formatOf(modelType).positions === undefined) {
    readRope(raw, config, { modelType, where });
    checkLayerTypes(raw.layer_types, formatOf(modelType).layerKind, unsupported);
    readWindow(raw, modelType, config, unsupported);
  }
  Object.assign(config, headsFromJson(raw, where));
  if (encoder) {
    if (isObject(config.classifier)) config.classifier.pooling ??= "first";
    // heddle reads no pretraining heads, so name the family's class without one.
    else if (config.architectures !== undefined) config.architectures = [architecture];
  }
  const dtype = raw.dtype ?? raw.torch_dtype;
  if (typeof dtype === "string" && Object.hasOwn(DTYPES, dtype)) config.dtype = DTYPES[dtype];
  return config;
}

/** Checks that a quantization is supported: gpt_oss's MXFP4, or 8-bit floats with a scale per block of 128 × 128. */
function checkQuantization(given: unknown, type: string, unsupported: (m: string) => HeddleError): void {
  if (given === undefined || given === null) return;
  const { quant_method: method, weight_block_size: block } = isObject(given) ? given : ({} as JsonFields);
  // Interleaved experts identify gpt_oss, the only family with MXFP4.
  if (method === "mxfp4" && formatOf(type).experts?.fused === "turns") return;
  if (method !== "fp8")
    throw unsupported(`quantization_config: checkpoints quantized by ${describe(method)} cannot be read`);
  if (!Array.isArray(block) || block.length !== 2 || block.some((n) => n !== 128))
    throw unsupported(
      `quantization_config: weight_block_size: expected [128, 128], got ${JSON.stringify(block)?.slice(0, 100)}`,
    );
}

function keysOf(modelType: string): Readonly<Record<string, keyof ModelConfig>> {
  const { keys, toJson } = formatOf(modelType);
  return { ...COMMON, ...(!toJson && LLAMA), ...keys };
}

function readActivation(
  raw: JsonFields,
  type: string,
  config: JsonFields,
  unsupported: (m: string) => HeddleError,
): void {
  const name = raw[formatOf(type).activationKey ?? "hidden_act"];
  if (name === undefined || name === null) return;
  if (!isActivation(name)) {
    const known = Object.keys(ACTIVATIONS).join(", ");
    throw unsupported(`hidden_act ${describe(name)} is not known (known: ${known})`);
  }
  config.hiddenAct = ACTIVATIONS[name];
}

function readTokens(raw: JsonFields, config: JsonFields): void {
  // Negative ids mean "none" in old files.
  const id = (value: unknown) => (value === undefined || (typeof value === "number" && value < 0) ? null : value);
  config.bosTokenId = id(Array.isArray(raw.bos_token_id) ? raw.bos_token_id[0] : raw.bos_token_id);
  config.padTokenId = id(raw.pad_token_id);
  const eos = Array.isArray(raw.eos_token_id) ? raw.eos_token_id : [raw.eos_token_id];
  config.eosTokenIds = eos.map(id).filter((value) => value !== null);
}

/** Subtracts the rows for padding from `maxPositionEmbeddings`, for families whose position table has such rows. */
function readPositions(modelType: string, config: JsonFields, where: string): void {
  const { positions, defaults } = formatOf(modelType);
  if (positions !== "behind padding" && positions !== "from 2") return;
  // Replace null by undefined, so that a default applies: the tokenizer's padding id, or transformers' value 1.
  config.padTokenId ??= undefined;
  const padTokenId = config.padTokenId ?? defaults.padTokenId;
  const rows = config.maxPositionEmbeddings ?? defaults.maxPositionEmbeddings;
  // The schema reports values that are not numbers.
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(padTokenId)) return;
  const first = firstPosition({ modelType, padTokenId: padTokenId as number });
  if ((rows as number) <= first)
    throw new HeddleError(
      "INVALID_FILE",
      `${where}: max_position_embeddings: expected more than ${positions === "from 2" ? "2" : `pad_token_id ${padTokenId} + 1`}, got ${rows}`,
    );
  config.maxPositionEmbeddings = (rows as number) - first;
}

/**
 * Refuses layer types other than full and sliding attention, even if the family's windows are off. In a family with a
 * layerKind (`only`), all layers must have this type.
 */
function checkLayerTypes(given: unknown, only: string | undefined, unsupported: (m: string) => HeddleError): void {
  if (only !== undefined) {
    const other = Array.isArray(given) && given.length > 0 ? given.find((kind) => kind !== only) : "mamba"; // transformers' default
    if (other !== undefined) throw unsupported(`layer_types: ${describe(other)} is not supported (known: ${only})`);
    return;
  }
  if (!Array.isArray(given)) return;
  const other = given.find((kind) => typeof kind === "string" && !/^(full|sliding)_attention$/.test(kind));
  if (other !== undefined)
    throw unsupported(`layer_types: ${describe(other)} is not supported (known: full_attention, sliding_attention)`);
}

function readWindow(raw: JsonFields, type: string, config: JsonFields, unsupported: (m: string) => HeddleError): void {
  const rule = formatOf(type).windows;
  const layers = typeof raw.num_hidden_layers === "number" ? raw.num_hidden_layers : 0;
  // A number of layers outside this range must not cause an allocation here. The schema refuses it later.
  const countable = isWhole(layers, 1, 1024);
  const { noRopeEvery } = formatOf(type);
  if (noRopeEvery !== undefined && config.noRopeLayers === undefined && countable) {
    const given = raw.no_rope_layer_interval;
    config.noRopeLayers = unrotatedEvery(typeof given === "number" && given >= 1 ? given : noRopeEvery, layers);
  }
  const flagged = rule.kind === "flag" || rule.kind === "unrotated";
  if (rule.kind === "none" || (flagged && raw.use_sliding_window !== true)) {
    // `sliding_window` without `use_sliding_window` is ignored, and so are layer types that need it.
    config.slidingWindow = null;
    delete config.layerTypes;
    return;
  }
  const usual = flagged ? 4096 : rule.otherwise; // transformers' default of `sliding_window`
  const window = rule.kind === "global" ? raw.local_attention : raw.sliding_window;
  config.slidingWindow = window === undefined ? usual : window;
  if (config.slidingWindow === null || config.layerTypes !== undefined || !countable) return;
  const { max_window_layers: most } = raw; // transformers' default is 28
  const period =
    rule.kind === "global"
      ? raw.global_attn_every_n_layers
      : // transformers writes the key with a leading underscore
        periodOf(raw.sliding_window_pattern ?? raw._sliding_window_pattern, unsupported);
  config.layerTypes = layerTypesOf(rule, layers, {
    ...(rule.kind === "flag" && rule.from === "max_window_layers" && { first: typeof most === "number" ? most : 28 }),
    ...(isWhole(period, 1) && { period }),
    rotates: Array.isArray(config.noRopeLayers) ? config.noRopeLayers : undefined,
  });
}

/**
 * Returns the config.json, with the keys `rope_theta` and `rope_scaling`, which every version of transformers reads.
 * @throws UNSUPPORTED for GGUF frequency factors, which config.json cannot express
 */
export function modelConfigToJson(config: ModelConfig): JsonFields {
  const { architecture, defaults, layerNorm, fixed, toJson } = formatOf(config.modelType);
  const heads = headsToJson(config, architecture);
  const architectures = heads.architectures ?? config.architectures ?? [architecture];
  const tokens: JsonFields = {
    ...(config.bosTokenId !== null && { bos_token_id: config.bosTokenId }),
    ...(config.eosTokenIds.length > 0 && {
      eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : config.eosTokenIds,
    }),
    ...(config.padTokenId !== null && { pad_token_id: config.padTokenId }),
  };
  const dtype = config.dtype === null ? {} : { torch_dtype: TORCH_DTYPES[config.dtype] };
  const head: JsonFields = { architectures, model_type: config.modelType };
  const tail: JsonFields = {
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieWordEmbeddings,
    ...tokens,
    ...dtype,
    use_cache: true,
    vocab_size: config.vocabSize,
    ...heads,
  };
  if (toJson) return { ...head, ...toJson(config), ...tail };
  return {
    ...head,
    attention_bias: config.attentionBias,
    attention_dropout: 0,
    head_dim: config.headDim,
    hidden_act: config.hiddenAct,
    ...activationToJson(config),
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: firstPosition(config) + config.maxPositionEmbeddings,
    ...((defaults.mlpBias !== undefined || config.mlpBias) && { mlp_bias: config.mlpBias }),
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    ...(!layerNorm && { rms_norm_eps: config.rmsNormEps }),
    ...(config.partialRotaryFactor !== undefined && { partial_rotary_factor: config.partialRotaryFactor }),
    ...ropeToJson(config),
    ...windowToJson(config),
    ...attentionToJson(config),
    ...fixed,
    ...familyKeys(config),
    ...tail,
  };
}

/** Converts camelCase to snake_case: useParallelResidual → use_parallel_residual. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Returns the family-specific keys. */
function familyKeys(config: ModelConfig): JsonFields {
  const values: JsonFields = Object.fromEntries(
    Object.entries(config.custom ?? {}).map(([name, value]) => [snakeCase(name), value]),
  );
  for (const [key, name] of Object.entries(formatOf(config.modelType).keys ?? {})) {
    if (config[name] !== undefined) values[key] = config[name];
  }
  return values;
}

/** Returns the family's key for the activation, which is written in addition to `hidden_act`. */
function activationToJson({ modelType, hiddenAct }: ModelConfig): JsonFields {
  const { activationKey } = formatOf(modelType);
  return activationKey === undefined ? {} : { [activationKey]: hiddenAct };
}

function attentionToJson({ modelType, useBidirectionalAttention }: ModelConfig): JsonFields {
  const { bidirectional: format } = formatOf(modelType);
  return useBidirectionalAttention && format ? { [format.key]: !DECODERS_MUST_BE[format.key] } : {};
}

function windowToJson(config: ModelConfig): JsonFields {
  const { slidingWindow, layerTypes } = config;
  const rule = formatOf(config.modelType).windows;
  const mixed = slidingWindow !== null && layerTypes.includes("full_attention");
  switch (rule.kind) {
    case "none": {
      const { layerKind } = formatOf(config.modelType);
      return layerKind === undefined ? {} : { layer_types: Array(config.numHiddenLayers).fill(layerKind) };
    }
    case "all":
      return { sliding_window: slidingWindow, ...(mixed && { layer_types: layerTypes }) };
    case "global":
      return { local_attention: slidingWindow, layer_types: layerTypes, ...globalEvery(config) };
    case "pattern":
      return { sliding_window: slidingWindow, layer_types: layerTypes };
    default: {
      const sliding = layerTypes.indexOf("sliding_attention");
      return {
        use_sliding_window: slidingWindow !== null,
        sliding_window: slidingWindow,
        ...(rule.kind === "flag" && { max_window_layers: sliding < 0 ? config.numHiddenLayers : sliding }),
        layer_types: layerTypes,
      };
    }
  }
}

/** Returns global_attn_every_n_layers, ModernBERT's older key, if the full-attention layers have a fixed period. */
function globalEvery({ modelType, layerTypes, numHiddenLayers }: ModelConfig): JsonFields {
  const { windows } = formatOf(modelType);
  const period = Math.max(1, layerTypes.indexOf("full_attention", 1));
  const regular = String(layerTypesOf(windows, numHiddenLayers, { period })) === String(layerTypes);
  return regular ? { global_attn_every_n_layers: period } : {};
}
