// Features that an unknown model needs and heddle lacks, found by its name and by the keys and values of its configuration.
import { isActivation } from "./activations.ts";
import { nearestType, neededByName, type UnknownModel, unexplainedKeys } from "./other-types.ts";

/** Keys of config.json, and ends of keys of GGUF, by the feature that they belong to. */
const FEATURES: readonly (readonly [feature: string, keys: readonly string[]])[] = [
  ["latent attention", ["kv_lora_rank", "attention.kv_lora_rank"]],
  ["attention in chunks", ["attention_chunk_size", "attention.chunk_size"]],
  ["state-space layers", ["state_size", "ssm_cfg", "ssm_state_size", "mamba_d_state", "mamba2_cfg", "ssm.state_size"]],
  ["linear attention", ["linear_key_head_dim", "linear_num_key_heads", "linear_attn_config"]],
  ["recurrent layers", ["wkv_head_size", "lru_width", "conv_L_cache", "wkv.head_size", "shortconv.l_cache"]],
  ["an encoder beside the decoder", ["is_encoder_decoder", "decoder_block_count"]],
  ["shared experts", ["n_shared_experts", "shared_intermediate_size", "expert_shared_count"]],
  [
    "its routing of experts",
    ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "expert_count"],
  ],
  ["linear biases of positions (ALiBi)", ["alibi", "attention.max_alibi_bias"]],
  ["its norms of queries and keys", ["use_qk_norm", "qk_layernorm"]],
  ["bounds of queries, keys and values", ["clip_qkv", "attention.clamp_kqv"]],
  ["a scale of its logits", ["logit_scale", "scale_depth"]],
  ["pictures", ["vision_config", "vision_model_type", "image_token_id"]],
  ["sound", ["audio_config", "num_mel_bins"]],
];

/**
 * The features of a configuration that no family here computes, each with the key or value that tells it; empty where nothing
 * does. @returns for example ["latent attention (kv_lora_rank)"]
 */
export function missingFeatures({ name, value }: UnknownModel): string[] {
  const isSet = (key: string) => ![undefined, null, false].includes(value(key) as undefined);
  const told = FEATURES.flatMap(([feature, keys]) => {
    const key = keys.find(isSet);
    return key === undefined ? [] : [{ feature, shown: `${feature} (${key})` }];
  });
  const others = neededByName(name).filter((feature) => !told.some((other) => other.feature === feature));
  // Names of BERT's kin say it, and what else they need.
  const bothWays = value("attention.causal") === false && !/bert/.test(String(name));
  const causal = bothWays ? ["attention to what follows (attention.causal)"] : [];
  return [...told.map(({ shown }) => shown), ...others, ...causal, ...missingValues(value)];
}

/** Activations and kinds of layers that are not known. */
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
 * Describes an unknown model for a message: the nearest type that is provided, and the features that heddle lacks.
 * @returns for example `nearest: gpt2; heddle lacks linear biases of positions (ALiBi)`
 */
export function describeUnknown(model: UnknownModel): string {
  const near = nearestType(model);
  const missing = missingFeatures(model);
  const keys = missing.length === 0 && near !== undefined ? unexplainedKeys(model) : [];
  const what =
    missing.length > 0
      ? `; heddle lacks ${missing.join(", ")}`
      : keys.length > 0
        ? `; ${near} has no ${keys.join(", ")}`
        : "";
  return `${near === undefined ? "no type is near" : `nearest: ${near}`}${what}`;
}
