// Converts a model configuration to GGUF metadata, with the keys that llama.cpp reads.
import { HeddleError } from "../../core/errors.ts";
import { encoderToGguf } from "../gguf/gguf-encoder.ts";
import { familyOfArchitecture, ggufArchitecture } from "../gguf/gguf-names.ts";
import { embedsOtherwise, layersToGguf, poolingToGguf } from "../gguf/gguf-pooling.ts";
import type { GgufValue } from "../gguf/gguf-types.ts";
import { slidingPatternToGguf } from "../gguf/gguf-windows.ts";
import { type ModelConfig, rotaryDim } from "./config.ts";
import { formatOf, isRegistered } from "./families.ts";
import { ropeAttentionFactor, yarnAttentionFactor } from "./rope-scaling.ts";

/** Names of values that GGUF keys do not hold, or hold only in part. heddle stores the values as JSON under the key `heddle.config`. */
export const STORED_VALUES = [
  "normTopkProb",
  "decoderSparseStep",
  "mlpOnlyLayers",
  "swigluLimit",
  "layerTypes",
  "slidingWindow",
  "noRopeLayers",
  "queryPreAttnScalar",
  "attnLogitSoftcapping",
  "finalLogitSoftcapping",
  "hiddenAct",
  "eosTokenIds",
  "embedding",
  "classifier",
  "custom",
];

/** Names of values that `heddle.config` of a registered family omits, because other GGUF keys hold them. */
export const SAID_ELSEWHERE = ["modelType", "vocabSize", "bosTokenId", "padTokenId", "dtype", "architectures"];

/** Returns the metadata of a model's GGUF file: `general.architecture` and the `<arch>.*` keys. */
export function modelConfigToGguf(config: ModelConfig): Map<string, GgufValue> {
  const { modelType, ropeScaling } = config;
  const { encoder, experts, gguf, layerNorm, positions } = formatOf(modelType);
  const arch = ggufArchitecture(config);
  const registered = isRegistered(modelType);
  if (arch === undefined)
    throw new HeddleError(
      "UNSUPPORTED",
      registered
        ? `${modelType}: cannot be written to GGUF, because the family was registered without \`gguf\``
        : `${modelType}: GGUF has no architecture for it`,
    );
  if (rotaryDim(config) < config.headDim && gguf?.layout === "rope")
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
  for (const [key, value] of layersToGguf(config)) meta.set(key, value);
  const pooling = poolingToGguf(config);
  if (pooling) meta.set(`${arch}.pooling_type`, pooling);
  const fields: Record<string, unknown> = { ...config };
  const keys = registered ? Object.keys(config).filter((key) => !SAID_ELSEWHERE.includes(key)) : STORED_VALUES;
  const kept = Object.fromEntries(keys.filter((key) => fields[key] !== undefined).map((key) => [key, fields[key]]));
  if (registered || saysMore(config)) text("heddle.config", JSON.stringify(kept));
  if (encoder) {
    encoderToGguf(config, meta);
    return meta;
  }
  if (layerNorm || registered) f32("attention.layer_norm_epsilon", config.layerNormEpsilon);
  if (positions) return meta;
  u32("attention.head_count_kv", config.numKeyValueHeads);
  if (config.useBidirectionalAttention) meta.set(`${arch}.attention.causal`, { type: "bool", value: false });
  if (!layerNorm) f32("attention.layer_norm_rms_epsilon", config.rmsNormEps);
  u32("attention.key_length", config.headDim);
  u32("attention.value_length", config.headDim);
  u32("rope.dimension_count", rotaryDim(config));
  f32("rope.freq_base", config.ropeTheta);
  if (config.slidingWindow !== null) u32("attention.sliding_window", config.slidingWindow);
  const pattern = slidingPatternToGguf(config);
  if (pattern) meta.set(`${arch}.attention.sliding_window_pattern`, pattern);
  if (familyOfArchitecture(arch) !== modelType) text("heddle.model_type", modelType);
  if (config.numExperts !== undefined) {
    u32("expert_count", config.numExperts);
    u32("expert_used_count", config.numExpertsPerTok ?? 1);
    u32("expert_feed_forward_length", config[experts?.width ?? "intermediateSize"] ?? config.intermediateSize);
  }
  if (config.sharedExpertIntermediateSize !== undefined)
    u32("expert_shared_feed_forward_length", config.sharedExpertIntermediateSize);
  if (config.ropeLocalTheta !== undefined) f32("rope.freq_base_swa", config.ropeLocalTheta);
  for (const [key, name] of Object.entries(gguf?.keys ?? {})) {
    const value = fields[name] ?? config.custom?.[name.replace(/^custom\./, "")];
    if (typeof value === "number") f32(key, value);
    if (typeof value === "boolean") meta.set(`${arch}.${key}`, { type: "bool", value });
  }
  if (ropeScaling === null) return meta;

  // GGUF has a key for the scaling factor of linear and yarn scaling. It stores the divisors of llama3 in the tensor rope_freqs.weight, and
  // those of longrope in two tensors.
  if (ropeScaling.ropeType === "linear" || ropeScaling.ropeType === "yarn") {
    text(`${arch}.rope.scaling.type`, ropeScaling.ropeType);
    f32("rope.scaling.factor", ropeScaling.factor);
  }
  if (ropeScaling.ropeType === "yarn" || ropeScaling.ropeType === "longrope") {
    const original = ropeScaling.originalMaxPositionEmbeddings ?? config.maxPositionEmbeddings;
    u32("rope.scaling.original_context_length", original);
  }
  if (ropeScaling.ropeType === "longrope") {
    // For the architectures llama and granite, llama.cpp reads the tables only if the type is longrope.
    text(`${arch}.rope.scaling.type`, "longrope");
    f32("rope.scaling.attn_factor", ropeAttentionFactor(config));
  }
  if (ropeScaling.ropeType === "yarn") {
    const { factor, betaFast, betaSlow } = ropeScaling;
    // llama.cpp derives an attention factor from the scaling factor and multiplies it by `attn_factor`.
    // Write the quotient of the model's factor and the derived one.
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

/** Whether a configuration has values that GGUF keys do not hold, or hold only in part. */
function saysMore(config: ModelConfig): boolean {
  const { modelType, slidingWindow, hiddenAct, eosTokenIds } = config;
  const { keys, custom, windows, defaults } = formatOf(modelType);
  const usual = windows.kind !== "pattern" && slidingWindow === null && hiddenAct === defaults.hiddenAct;
  // GGUF has three keys for end tokens: eos, eot and eom.
  return keys !== undefined || custom !== undefined || !usual || eosTokenIds.length > 3 || embedsOtherwise(config);
}
