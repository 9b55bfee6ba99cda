// config.json of transformers ↔ the camelCase names of ModelConfig.
import { describe, HeddleError } from "../errors.ts";
import type { ModelConfig, ModelType } from "./config.ts";
import { headsFromJson, headsToJson } from "./heads.ts";
import { ropeScalingFromJson, ropeScalingToJson } from "./rope-scaling.ts";

/** Keys that only change their spelling. */
const PLAIN: Readonly<Record<string, keyof ModelConfig>> = {
  vocab_size: "vocabSize",
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
  tie_word_embeddings: "tieWordEmbeddings",
  attention_bias: "attentionBias",
  mlp_bias: "mlpBias",
  initializer_range: "initializerRange",
  architectures: "architectures",
};

/** GPT-2's own names. */
const GPT2: Readonly<Record<string, keyof ModelConfig>> = {
  vocab_size: "vocabSize",
  n_embd: "hiddenSize",
  n_inner: "intermediateSize",
  n_layer: "numHiddenLayers",
  n_head: "numAttentionHeads",
  n_positions: "maxPositionEmbeddings",
  layer_norm_epsilon: "layerNormEpsilon",
  tie_word_embeddings: "tieWordEmbeddings",
  initializer_range: "initializerRange",
  architectures: "architectures",
};

const ACTIVATIONS: Readonly<Record<string, ModelConfig["hiddenAct"]>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu_pytorch_tanh",
  gelu_fast: "gelu_pytorch_tanh",
  gelu_pytorch_tanh: "gelu_pytorch_tanh",
};

const DTYPES: Readonly<Record<string, NonNullable<ModelConfig["dtype"]>>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
};
const TORCH_DTYPES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

const CLASSES: Readonly<Record<ModelType, string>> = {
  llama: "LlamaForCausalLM",
  mistral: "MistralForCausalLM",
  qwen2: "Qwen2ForCausalLM",
  qwen3: "Qwen3ForCausalLM",
  gemma: "GemmaForCausalLM",
  gpt2: "GPT2LMHeadModel",
};

type Json = Record<string, unknown>;

/** config.json → camelCase, with transformers' family rules applied. Types are left for the schema to check. */
export function snakeToCamel(raw: Json, modelType: ModelType, where: string): Json {
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${where}: ${message}`);
  if (raw.quantization_config !== undefined && raw.quantization_config !== null) {
    throw unsupported("quantization_config: quantised checkpoints cannot be read");
  }
  const config: Json = {};
  for (const [from, to] of Object.entries(modelType === "gpt2" ? GPT2 : PLAIN)) {
    // null stands for "not set" in config.json.
    if (Object.hasOwn(raw, from) && raw[from] !== null) config[to] = raw[from];
  }
  // Class defaults that differ from hidden_size / num_attention_heads.
  if (config.headDim === undefined && modelType === "qwen3") config.headDim = 128;
  if (config.headDim === undefined && modelType === "gemma") config.headDim = 256;

  readActivation(raw, modelType, config, unsupported);
  readTokens(raw, config);
  if (modelType === "gpt2") {
    for (const key of ["scale_attn_by_inverse_layer_idx", "add_cross_attention"]) {
      if (raw[key] === true) throw unsupported(`${key}: true is not provided`);
    }
    if (raw.scale_attn_weights === false) throw unsupported("scale_attn_weights: false is not provided");
  } else {
    readRope(raw, config, where, unsupported);
    readWindow(raw, modelType, config);
  }
  Object.assign(config, headsFromJson(raw, where));
  const dtype = raw.dtype ?? raw.torch_dtype;
  if (typeof dtype === "string" && Object.hasOwn(DTYPES, dtype)) config.dtype = DTYPES[dtype];
  return config;
}

function readActivation(raw: Json, type: ModelType, config: Json, unsupported: (m: string) => HeddleError): void {
  // Gemma's first files say "gelu" and mean the tanh form; `hidden_activation` overrides (transformers, GemmaMLP).
  const name =
    type === "gpt2"
      ? raw.activation_function
      : type === "gemma"
        ? (raw.hidden_activation ?? "gelu_pytorch_tanh")
        : raw.hidden_act;
  if (name === undefined || name === null) return;
  if (typeof name !== "string" || !Object.hasOwn(ACTIVATIONS, name)) {
    const known = Object.keys(ACTIVATIONS).join(", ");
    throw unsupported(`hidden_act ${describe(name)} is not known (known: ${known})`);
  }
  config.hiddenAct = ACTIVATIONS[name];
}

function readTokens(raw: Json, config: Json): void {
  // Negative ids mean "none" in old files.
  const id = (value: unknown) => (value === undefined || (typeof value === "number" && value < 0) ? null : value);
  config.bosTokenId = id(Array.isArray(raw.bos_token_id) ? raw.bos_token_id[0] : raw.bos_token_id);
  config.padTokenId = id(raw.pad_token_id);
  const eos = Array.isArray(raw.eos_token_id) ? raw.eos_token_id : [raw.eos_token_id];
  config.eosTokenIds = eos.map(id).filter((value) => value !== null);
}

function readRope(raw: Json, config: Json, where: string, unsupported: (m: string) => HeddleError): void {
  let parameters = raw.rope_parameters ?? raw.rope_scaling;
  if (isObject(parameters) && (isObject(parameters.full_attention) || isObject(parameters.sliding_attention))) {
    // One set per layer type: only the same for all can be expressed.
    const sets = Object.values(parameters);
    if (!sets.every((set) => JSON.stringify(set) === JSON.stringify(sets[0]))) {
      throw unsupported("rope_parameters: different values per layer type are not provided");
    }
    parameters = sets[0];
  }
  if (parameters !== undefined && parameters !== null && !isObject(parameters)) {
    throw new HeddleError("INVALID_FILE", `${where}: rope_scaling: expected an object, got ${describe(parameters)}`);
  }
  const { rope_theta, partial_rotary_factor, ...scaling } = (parameters ?? {}) as Json;
  if (rope_theta !== undefined) config.ropeTheta = rope_theta;
  const partial = partial_rotary_factor ?? raw.partial_rotary_factor ?? 1;
  if (partial !== 1) throw unsupported(`partial_rotary_factor ${describe(partial)} is not provided (expected 1)`);
  config.ropeScaling = ropeScalingFromJson(scaling);
}

function readWindow(raw: Json, type: ModelType, config: Json): void {
  const layers = typeof raw.num_hidden_layers === "number" ? raw.num_hidden_layers : 0;
  let first = 0; // the first layer that slides
  if (type === "mistral") {
    config.slidingWindow = raw.sliding_window === undefined ? 4096 : raw.sliding_window;
  } else if ((type === "qwen2" || type === "qwen3") && raw.use_sliding_window === true) {
    config.slidingWindow = raw.sliding_window === undefined ? 4096 : raw.sliding_window;
    first = typeof raw.max_window_layers === "number" ? raw.max_window_layers : 28;
  } else {
    // `sliding_window` without `use_sliding_window` is ignored, and so are layer types that need it.
    config.slidingWindow = null;
    delete config.layerTypes;
  }
  if (config.slidingWindow !== null && config.layerTypes === undefined && layers >= 1 && layers <= 1024) {
    config.layerTypes = Array.from({ length: layers }, (_, i) => (i < first ? "full_attention" : "sliding_attention"));
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The config.json that transformers reads (the dialect with rope_theta and rope_scaling, which every version knows).
 * @throws UNSUPPORTED for GGUF frequency factors that have no name there
 */
export function modelConfigToJson(config: ModelConfig): Json {
  const heads = headsToJson(config, CLASSES[config.modelType]);
  const architectures = heads.architectures ?? config.architectures ?? [CLASSES[config.modelType]];
  const tokens: Json = {
    ...(config.bosTokenId !== null && { bos_token_id: config.bosTokenId }),
    ...(config.eosTokenIds.length > 0 && {
      eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : config.eosTokenIds,
    }),
    ...(config.padTokenId !== null && { pad_token_id: config.padTokenId }),
  };
  const dtype = config.dtype === null ? {} : { torch_dtype: TORCH_DTYPES[config.dtype] };
  const head: Json = { architectures, model_type: config.modelType };
  const tail: Json = {
    initializer_range: config.initializerRange,
    tie_word_embeddings: config.tieWordEmbeddings,
    ...tokens,
    ...dtype,
    use_cache: true,
    vocab_size: config.vocabSize,
    ...heads,
  };
  if (config.modelType === "gpt2") {
    return {
      ...head,
      activation_function: config.hiddenAct === "gelu_pytorch_tanh" ? "gelu_new" : config.hiddenAct,
      layer_norm_epsilon: config.layerNormEpsilon,
      n_ctx: config.maxPositionEmbeddings,
      n_embd: config.hiddenSize,
      n_head: config.numAttentionHeads,
      n_inner: config.intermediateSize === 4 * config.hiddenSize ? null : config.intermediateSize,
      n_layer: config.numHiddenLayers,
      n_positions: config.maxPositionEmbeddings,
      scale_attn_weights: true,
      ...tail,
    };
  }
  return {
    ...head,
    attention_bias: config.attentionBias,
    attention_dropout: 0,
    head_dim: config.headDim,
    hidden_act: config.hiddenAct,
    ...(config.modelType === "gemma" && { hidden_activation: config.hiddenAct }),
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    ...(config.modelType === "llama" && { mlp_bias: config.mlpBias }),
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    rms_norm_eps: config.rmsNormEps,
    rope_scaling: config.ropeScaling === null ? null : ropeScalingToJson(config.ropeScaling),
    rope_theta: config.ropeTheta,
    ...windowToJson(config),
    ...tail,
  };
}

function windowToJson(config: ModelConfig): Json {
  if (config.modelType === "mistral") return { sliding_window: config.slidingWindow };
  if (config.modelType !== "qwen2" && config.modelType !== "qwen3") return {};
  const full = config.layerTypes.indexOf("sliding_attention");
  return {
    use_sliding_window: config.slidingWindow !== null,
    sliding_window: config.slidingWindow,
    max_window_layers: full < 0 ? config.numHiddenLayers : full,
    layer_types: config.layerTypes,
  };
}
