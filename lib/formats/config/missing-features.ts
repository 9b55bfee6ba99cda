// Features that an unknown model needs and heddle lacks, derived from its name and its configuration's keys and values.
import { isActivation } from "./activations.ts";
import { nearestType, neededByName, type UnknownModel, unexplainedKeys } from "./other-types.ts";

/** config.json keys, and suffixes of GGUF keys, by the feature that they imply. */
const FEATURES: readonly (readonly [feature: string, keys: readonly string[]])[] = [
  ["latent attention", ["kv_lora_rank", "attention.kv_lora_rank"]],
  ["chunked attention", ["attention_chunk_size", "attention.chunk_size"]],
  ["state-space layers", ["state_size", "ssm_cfg", "ssm_state_size", "mamba_d_state", "mamba2_cfg", "ssm.state_size"]],
  ["linear attention", ["linear_key_head_dim", "linear_num_key_heads", "linear_attn_config"]],
  ["recurrent layers", ["wkv_head_size", "lru_width", "conv_L_cache", "wkv.head_size", "shortconv.l_cache"]],
  ["an encoder beside the decoder", ["is_encoder_decoder", "decoder_block_count"]],
  ["shared experts", ["n_shared_experts", "shared_intermediate_size", "expert_shared_count"]],
  ["its expert routing", ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "expert_count"]],
  ["linear position biases (ALiBi)", ["alibi", "attention.max_alibi_bias"]],
  ["its QK norms", ["use_qk_norm", "qk_layernorm"]],
  ["clipping of queries, keys and values", ["clip_qkv", "attention.clamp_kqv"]],
  ["its logit scale", ["logit_scale", "scale_depth"]],
  ["images", ["vision_config", "vision_model_type", "image_token_id"]],
  ["audio", ["audio_config", "num_mel_bins"]],
];

/**
 * Returns the unsupported features of a configuration, each with the key or value that implies it.
 * @returns for example ["latent attention (kv_lora_rank)"]
 */
function missingFeatures({ name, value }: UnknownModel): string[] {
  // Configurations without experts may have a number of experts of 0.
  const isSet = (key: string) => ![undefined, null, false, 0].includes(value(key) as undefined);
  const found = FEATURES.flatMap(([feature, keys]) => {
    const key = keys.find(isSet);
    return key === undefined ? [] : [{ feature, shown: `${feature} (${key})` }];
  });
  const others = neededByName(name).filter((feature) => !found.some((other) => other.feature === feature));
  // For names with "bert", neededByName has already listed bidirectional attention.
  const isBidirectional = value("attention.causal") === false && !/bert/.test(typeof name === "string" ? name : "");
  const causal = isBidirectional ? ["bidirectional attention (attention.causal)"] : [];
  return [...found.map(({ shown }) => shown), ...others, ...causal, ...missingValues(value)];
}

/** Returns unknown activations and layer types. */
function missingValues(value: UnknownModel["value"]): string[] {
  const shown = (text: string) => JSON.stringify(text.slice(0, 60));
  const activation = value("hidden_act") ?? value("hidden_activation") ?? value("activation_function");
  const types = value("layer_types");
  const kind =
    Array.isArray(types) && types.find((type) => typeof type === "string" && !/^(full|sliding)_attention$/.test(type));
  return [
    ...(typeof activation === "string" && !isActivation(activation) ? [`its activation (${shown(activation)})`] : []),
    ...(typeof kind === "string" ? [`its layers (${shown(kind)})`] : []),
  ];
}

/**
 * Describes an unknown model for a message: the nearest supported type, and the features that heddle lacks.
 * @returns for example `nearest: gpt2; not supported: linear position biases (ALiBi)`
 */
export function describeUnknown(model: UnknownModel): string {
  const near = nearestType(model);
  const missing = missingFeatures(model);
  const keys = missing.length === 0 && near !== undefined ? unexplainedKeys(model) : [];
  const what =
    missing.length > 0
      ? `; not supported: ${missing.join(", ")}`
      : keys.length > 0
        ? `; ${near} has no ${keys.join(", ")}`
        : "";
  return `${near === undefined ? "no similar type is supported" : `nearest: ${near}`}${what}`;
}
