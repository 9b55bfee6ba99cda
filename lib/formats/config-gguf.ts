// Model configuration ↔ GGUF metadata (keys as llama.cpp reads and writes them).
import { describe, HeddleError } from "../errors.ts";
import { type ModelConfig, type ModelType, parseModelConfig, rotaryDim } from "./config.ts";
import { formatOf, isModelType, isRegistered, layerTypesOf } from "./families.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import { familyOfArchitecture, ggufArchitectures, pairsNeighbours } from "./gguf-names.ts";
import type { GgufValue } from "./gguf-types.ts";
import { parseJson } from "./io.ts";
import { lacks } from "./missing-features.ts";
import { ropeAttentionFactor, ropeScalingFromFactors, type YarnScaling, yarnAttentionFactor } from "./rope-scaling.ts";
import type { WeightSource } from "./weights.ts";

/** The configuration of an open GGUF file. Errors: INVALID_FILE, UNSUPPORTED (architecture, feature). */
export function modelConfigFromGguf(source: WeightSource): ModelConfig {
  const meta = source.gguf;
  if (!meta) throw new HeddleError("INTERNAL", `${source.path}: expected a GGUF file`);
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${source.path}: ${message}`);
  const arch = meta.requireString("general.architecture");
  const family = familyOfArchitecture(arch);
  if (family === undefined) {
    const known = `known: ${ggufArchitectures().join(", ")}${lacks((key) => meta.has(`${arch}.${key}`))}`;
    throw unsupported(`general.architecture ${describe(arch)} is not known (${known})`);
  }
  const experts = meta.number(`${arch}.expert_count`) || undefined;
  const sparse =
    formatOf(family).defaults.numExperts !== undefined || "numExperts" in (formatOf(family).fileDefaults ?? {});
  if (experts !== undefined && !sparse) throw unsupported(`mixture of experts is not provided for ${arch}`);

  const window = meta.number(`${arch}.attention.sliding_window`) || null;
  const modelType: ModelType = family === "llama" ? llamaOrMistral(meta, window) : family;
  const hidden = meta.requireNumber(`${arch}.embedding_length`);
  const heads = meta.requireNumber(`${arch}.attention.head_count`);
  const layers = meta.requireNumber(`${arch}.block_count`);
  const headDim = meta.number(`${arch}.attention.key_length`) ?? hidden / heads;
  const valueDim = meta.number(`${arch}.attention.value_length`) ?? headDim;
  if (valueDim !== headDim) throw unsupported(`value heads of ${valueDim} beside keys of ${headDim} are not provided`);
  const rotary = modelType === "gpt2" ? headDim : (meta.number(`${arch}.rope.dimension_count`) ?? headDim);
  if (rotary > headDim || (rotary < headDim && pairsNeighbours(modelType)))
    throw unsupported(`rotation of ${rotary} of ${headDim} dimensions is not provided`);
  const theta = tidy(meta.number(`${arch}.rope.freq_base`) ?? 10000);
  const { windows, defaults } = formatOf(modelType);

  const tokens = meta.strings("tokenizer.ggml.tokens");
  const eos = ["eos_token_id", "eot_token_id", "eom_token_id"].map((key) => meta.number(`tokenizer.ggml.${key}`));
  return parseModelConfig(
    {
      modelType,
      vocabSize: vocabSize(source) ?? meta.number(`${arch}.vocab_size`) ?? tokens?.length,
      hiddenSize: hidden,
      intermediateSize:
        meta.number(`${arch}.feed_forward_length`) ?? meta.requireNumber(`${arch}.expert_feed_forward_length`),
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      numKeyValueHeads: meta.number(`${arch}.attention.head_count_kv`) ?? heads,
      headDim,
      maxPositionEmbeddings: meta.requireNumber(`${arch}.context_length`),
      ...epsilons(meta, modelType, arch),
      ropeTheta: theta,
      ropeScaling: modelType === "gpt2" ? null : readScaling(source, meta, arch, rotary, theta, unsupported),
      ...((rotary !== headDim || defaults.partialRotaryFactor !== undefined) && {
        partialRotaryFactor: rotary / headDim,
      }),
      slidingWindow: window,
      ...(window !== null &&
        windows.kind === "pattern" &&
        layers <= 1024 && { layerTypes: layerTypesOf(windows, layers) }),
      tieWordEmbeddings: !source.has("output.weight"),
      attentionBias:
        modelType !== "qwen2" &&
        modelType !== "gpt2" &&
        ["attn_q", "attn_qkv"].some((name) => source.has(`blk.0.${name}.bias`)),
      mlpBias: modelType !== "gpt2" && source.has("blk.0.ffn_up.bias"),
      hiddenAct: defaults.hiddenAct,
      bosTokenId: meta.number("tokenizer.ggml.bos_token_id") ?? null,
      eosTokenIds: [...new Set(eos.filter((id) => id !== undefined))],
      padTokenId: meta.number("tokenizer.ggml.padding_token_id") ?? null,
      dtype: matrixDtype(source),
      ...familyValues(meta, modelType, arch, { hidden, heads, layers, headDim }),
      ...ownValues(meta, modelType, source.path),
    },
    source.path,
  );
}

/** What norms add under their root. A registered family may have either kind. */
function epsilons(meta: GgufMetadata, modelType: ModelType, arch: string): Partial<ModelConfig> {
  const [layer, rms] = [`${arch}.attention.layer_norm_epsilon`, `${arch}.attention.layer_norm_rms_epsilon`] as const;
  if (modelType === "gpt2") return { layerNormEpsilon: tidy(meta.requireNumber(layer)) };
  if (!isRegistered(modelType)) return { rmsNormEps: tidy(meta.requireNumber(rms)) };
  const [ofLayer, ofRms] = [meta.number(layer), meta.number(rms)];
  return {
    ...(ofLayer !== undefined && { layerNormEpsilon: tidy(ofLayer) }),
    ...(ofRms !== undefined && { rmsNormEps: tidy(ofRms) }),
  };
}

/** What a family's files say under keys of their own, and what llama.cpp takes for granted. */
function familyValues(
  meta: GgufMetadata,
  modelType: ModelType,
  arch: string,
  sizes: { hidden: number; heads: number; layers: number; headDim: number },
): Partial<ModelConfig> {
  const { hidden, heads, layers, headDim } = sizes;
  const real = (key: string) => {
    const value = meta.number(`${arch}.${key}`);
    return value === undefined ? undefined : tidy(value);
  };
  switch (modelType) {
    case "gemma2":
    case "gemma3_text": {
      // The 27B models, told by their depth, scale by the width a head would have.
      const wide = layers === (modelType === "gemma2" ? 46 : 62);
      const local = real("rope.freq_base_swa");
      return {
        queryPreAttnScalar: wide ? hidden / heads : headDim,
        ...(modelType === "gemma2" && {
          attnLogitSoftcapping: real("attn_logit_softcapping") ?? 50,
          finalLogitSoftcapping: real("final_logit_softcapping") ?? 30,
        }),
        ...(modelType === "gemma3_text" && { ropeLocalTheta: local ?? 1e4 }),
      };
    }
    case "granite":
      return {
        embeddingMultiplier: real("embedding_scale") || 1,
        attentionMultiplier: real("attention.scale") || 1 / Math.sqrt(headDim),
        residualMultiplier: real("residual_scale") || 1,
        logitsScaling: real("logit_scale") || 1,
      };
    case "qwen3_moe":
      return {
        ...expertCounts(meta, arch),
        moeIntermediateSize: meta.requireNumber(`${arch}.expert_feed_forward_length`),
        normTopkProb: true,
      };
    case "gpt_oss":
      return {
        ...expertCounts(meta, arch),
        intermediateSize: meta.requireNumber(`${arch}.expert_feed_forward_length`),
        attentionBias: true,
      };
    default:
      return {};
  }
}

function expertCounts(meta: GgufMetadata, arch: string): Partial<ModelConfig> {
  return {
    numExperts: meta.requireNumber(`${arch}.expert_count`),
    numExpertsPerTok: meta.requireNumber(`${arch}.expert_used_count`),
  };
}

/** What GGUF has no key for: written by this package, as a part of a configuration. */
const OWN_VALUES = [
  "normTopkProb",
  "decoderSparseStep",
  "mlpOnlyLayers",
  "swigluLimit",
  "layerTypes",
  "noRopeLayers",
  "queryPreAttnScalar",
  "attnLogitSoftcapping",
  "finalLogitSoftcapping",
  "hiddenAct",
  "eosTokenIds",
];

/** Of a registered family's configuration: what the file says elsewhere. All else travels as it is, since GGUF has no keys for it. */
const SAID_ELSEWHERE = ["modelType", "vocabSize", "bosTokenId", "padTokenId", "dtype", "architectures"];

function ownValues(meta: GgufMetadata, modelType: ModelType, path: string): Record<string, unknown> {
  const own = meta.string("heddle.config");
  if (own === undefined) return {};
  const parsed = parseJson(Buffer.from(own), `${path}: heddle.config`);
  if (typeof parsed !== "object" || parsed === null) return {};
  const registered = isRegistered(modelType);
  const taken = (key: string) => (registered ? !SAID_ELSEWHERE.includes(key) : OWN_VALUES.includes(key));
  return Object.fromEntries(Object.entries(parsed).filter(([key]) => taken(key)));
}

function llamaOrMistral(meta: GgufMetadata, window: number | null): ModelType {
  const said = meta.string("heddle.model_type");
  if (said !== undefined && isModelType(said) && formatOf(said).gguf === "llama") {
    return said;
  }
  return window === null ? "llama" : "mistral";
}

function vocabSize(source: WeightSource): number | undefined {
  return source.has("token_embd.weight") ? source.info("token_embd.weight").shape[0] : undefined;
}

/** The type of the first layer's q matrix speaks for all matrices; norms are F32 in any file. */
function matrixDtype(source: WeightSource): ModelConfig["dtype"] {
  for (const name of ["blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "token_embd.weight"]) {
    const dtype = source.has(name) ? source.info(name).dtype : undefined;
    if (dtype === "f32" || dtype === "f16" || dtype === "bf16") return dtype;
  }
  return null;
}

function readScaling(
  source: WeightSource,
  meta: GgufMetadata,
  arch: string,
  rotary: number,
  theta: number,
  unsupported: (message: string) => HeddleError,
): unknown {
  const own = meta.string("heddle.rope_scaling");
  if (own !== undefined) return parseJson(Buffer.from(own), `${source.path}: heddle.rope_scaling`);
  if (source.has("rope_freqs.weight")) {
    return ropeScalingFromFactors(factorsOf(source, "rope_freqs.weight", rotary / 2), rotary, theta);
  }
  const original = meta.number(`${arch}.rope.scaling.original_context_length`);
  if (source.has("rope_factors_long.weight") && source.has("rope_factors_short.weight")) {
    const attentionFactor = meta.number(`${arch}.rope.scaling.attn_factor`);
    return {
      ropeType: "longrope",
      shortFactor: Array.from(factorsOf(source, "rope_factors_short.weight", rotary / 2), tidy),
      longFactor: Array.from(factorsOf(source, "rope_factors_long.weight", rotary / 2), tidy),
      ...(original !== undefined && { originalMaxPositionEmbeddings: original }),
      ...(attentionFactor !== undefined && { attentionFactor: tidy(attentionFactor) }),
    };
  }
  const type = meta.string(`${arch}.rope.scaling.type`) ?? (meta.has(`${arch}.rope.scale_linear`) ? "linear" : "none");
  const factor = meta.number(`${arch}.rope.scaling.factor`) ?? meta.number(`${arch}.rope.scale_linear`) ?? 1;
  switch (type) {
    case "none":
      return null;
    case "linear":
      return factor === 1 ? null : { ropeType: "linear", factor: tidy(factor) };
    case "yarn":
      return {
        ropeType: "yarn",
        factor: tidy(factor),
        ...(original !== undefined && { originalMaxPositionEmbeddings: original }),
        ...yarnValues(meta, `${arch}.rope.scaling`, factor),
        // Its own definition, which llama.cpp's files do not repeat.
        ...(arch === "gpt-oss" && { truncate: false }),
      };
    default:
      throw unsupported(`${arch}.rope.scaling.type ${describe(type)} is not provided`);
  }
}

/** Where YaRN's ramp lies and what cosine and sine are multiplied by, as far as a file says more than its factor. */
function yarnValues(meta: GgufMetadata, prefix: string, factor: number): Record<string, number> {
  const real = (key: string) => meta.number(`${prefix}.${key}`);
  const [fast, slow, times, log] = ["yarn_beta_fast", "yarn_beta_slow", "attn_factor", "yarn_log_multiplier"].map(real);
  const usual: YarnScaling = { ropeType: "yarn", factor, ...(log && { mscale: 1, mscaleAllDim: tidy(log) }) };
  return {
    ...(fast !== undefined && { betaFast: tidy(fast) }),
    ...(slow !== undefined && { betaSlow: tidy(slow) }),
    ...(log && { mscale: 1, mscaleAllDim: tidy(log) }),
    ...(times !== undefined && times !== 1 && { attentionFactor: tidy(times * yarnAttentionFactor(usual)) }),
  };
}

/** A table of `count` divisors of frequencies. */
function factorsOf(source: WeightSource, name: string, count: number): Float32Array {
  const { dtype, file, offset, bytes, shape } = source.tensor(name);
  if (dtype === "f32" && shape.length === 1 && shape[0] === count) return new Float32Array(file.bytes(offset, bytes));
  const got = `${dtype} [${shape.join(", ")}]`;
  throw new HeddleError("INVALID_FILE", `${source.path}: ${name}: expected f32 [${count}], got ${got}`);
}

/** The shortest decimal that is the same float32: 9.999999747378752e-06 → 1e-5. */
function tidy(value: number): number {
  const exact = Math.fround(value);
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(exact.toPrecision(digits));
    if (Math.fround(short) === exact) return short;
  }
  return value;
}

/** Metadata for a GGUF file of this model: `general.architecture` and the `<arch>.*` keys. */
export function modelConfigToGguf(config: ModelConfig): Map<string, GgufValue> {
  const { modelType, ropeScaling } = config;
  const arch = formatOf(modelType).gguf;
  const registered = isRegistered(modelType);
  if (arch === undefined)
    throw new HeddleError(
      "UNSUPPORTED",
      registered
        ? `${modelType}: expected a family that was registered with \`gguf\` to be written to GGUF, got one without`
        : `${modelType}: GGUF has no architecture of that kind`,
    );
  if (rotaryDim(config) < config.headDim && pairsNeighbours(modelType))
    throw new HeddleError("UNSUPPORTED", `partial_rotary_factor: cannot be written to GGUF of ${arch}`);
  const meta = new Map<string, GgufValue>();
  const u32 = (key: string, value: number) => meta.set(`${arch}.${key}`, { type: "u32", value });
  const f32 = (key: string, value: number) => meta.set(`${arch}.${key}`, { type: "f32", value });
  const text = (key: string, value: string) => meta.set(key, { type: "string", value });

  text("general.architecture", arch);
  u32("context_length", config.maxPositionEmbeddings);
  u32("embedding_length", config.hiddenSize);
  u32("block_count", config.numHiddenLayers);
  u32("feed_forward_length", config.intermediateSize);
  u32("attention.head_count", config.numAttentionHeads);
  u32("vocab_size", config.vocabSize);
  const own = config as Record<string, unknown>;
  const keys = registered ? Object.keys(config).filter((key) => !SAID_ELSEWHERE.includes(key)) : OWN_VALUES;
  const kept = Object.fromEntries(keys.filter((key) => own[key] !== undefined).map((key) => [key, own[key]]));
  if (registered || saysMore(config)) text("heddle.config", JSON.stringify(kept));
  if (modelType === "gpt2" || registered) f32("attention.layer_norm_epsilon", config.layerNormEpsilon);
  if (modelType === "gpt2") return meta;
  u32("attention.head_count_kv", config.numKeyValueHeads);
  f32("attention.layer_norm_rms_epsilon", config.rmsNormEps);
  u32("attention.key_length", config.headDim);
  u32("attention.value_length", config.headDim);
  u32("rope.dimension_count", rotaryDim(config));
  f32("rope.freq_base", config.ropeTheta);
  if (config.slidingWindow !== null) u32("attention.sliding_window", config.slidingWindow);
  if (arch === "llama" && modelType !== "llama") text("heddle.model_type", modelType);
  if (config.numExperts !== undefined) {
    u32("expert_count", config.numExperts);
    u32("expert_used_count", config.numExpertsPerTok ?? 1);
    u32("expert_feed_forward_length", config.moeIntermediateSize ?? config.intermediateSize);
  }
  for (const [key, name] of Object.entries(FAMILY_KEYS)) {
    if (typeof own[name] === "number") f32(key, own[name]);
  }
  if (ropeScaling === null) return meta;

  // llama3 scaling travels as the tensor rope_freqs.weight, longrope's factors as two; these are the kinds GGUF names.
  if (ropeScaling.ropeType === "linear" || ropeScaling.ropeType === "yarn") {
    text(`${arch}.rope.scaling.type`, ropeScaling.ropeType);
    f32("rope.scaling.factor", ropeScaling.factor);
  }
  if (ropeScaling.ropeType === "yarn" || ropeScaling.ropeType === "longrope") {
    const original = ropeScaling.originalMaxPositionEmbeddings ?? config.maxPositionEmbeddings;
    u32("rope.scaling.original_context_length", original);
  }
  if (ropeScaling.ropeType === "longrope") f32("rope.scaling.attn_factor", ropeAttentionFactor(config));
  if (ropeScaling.ropeType === "yarn") {
    const { factor, betaFast, betaSlow } = ropeScaling;
    // llama.cpp multiplies what follows from the factor by this.
    const times = yarnAttentionFactor(ropeScaling) / yarnAttentionFactor({ ropeType: "yarn", factor });
    if (times !== 1) f32("rope.scaling.attn_factor", times);
    if (betaFast !== undefined) f32("rope.scaling.yarn_beta_fast", betaFast);
    if (betaSlow !== undefined) f32("rope.scaling.yarn_beta_slow", betaSlow);
  }
  if (ropeScaling.ropeType === "dynamic") {
    throw new HeddleError("UNSUPPORTED", "rope_scaling: dynamic cannot be written to GGUF");
  }
  text("heddle.rope_scaling", JSON.stringify(ropeScaling));
  return meta;
}

/** Whether a configuration has something that GGUF has no key for, or whose keys say less. */
function saysMore({ modelType, slidingWindow, hiddenAct, eosTokenIds }: ModelConfig): boolean {
  const { keys, windows, defaults } = formatOf(modelType);
  const usual = windows.kind !== "pattern" && slidingWindow === null && hiddenAct === defaults.hiddenAct;
  return keys !== undefined || !usual || eosTokenIds.length > 3;
}

/** Numbers that a family's files carry, where the configuration has them. */
const FAMILY_KEYS: Readonly<Record<string, keyof ModelConfig>> = {
  attn_logit_softcapping: "attnLogitSoftcapping",
  final_logit_softcapping: "finalLogitSoftcapping",
  "rope.freq_base_swa": "ropeLocalTheta",
  embedding_scale: "embeddingMultiplier",
  "attention.scale": "attentionMultiplier",
  residual_scale: "residualMultiplier",
  logit_scale: "logitsScaling",
};
