// What an unknown model would need and heddle does not have, told by the keys of its configuration.

/** Keys of config.json, and ends of keys of GGUF, by the feature that they belong to. */
const FEATURES: readonly (readonly [feature: string, keys: readonly string[]])[] = [
  ["latent attention", ["kv_lora_rank", "attention.kv_lora_rank"]],
  ["state-space layers", ["state_size", "ssm_cfg", "ssm_state_size", "mamba_d_state", "mamba2_cfg", "ssm.state_size"]],
  ["linear attention", ["linear_key_head_dim", "linear_num_key_heads", "linear_attn_config"]],
  ["recurrent layers", ["wkv_head_size", "lru_width", "conv_L_cache", "wkv.head_size", "shortconv.l_cache"]],
  ["an encoder beside the decoder", ["is_encoder_decoder", "decoder_block_count"]],
  ["shared experts", ["n_shared_experts", "shared_expert_intermediate_size", "expert_shared_count"]],
  [
    "its routing of experts",
    ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "expert_count"],
  ],
  ["linear biases of positions (ALiBi)", ["alibi", "attention.max_alibi_bias"]],
  ["attention beside the feed-forward block", ["parallel_attn", "use_parallel_residual"]],
  ["pictures", ["vision_config", "vision_model_type", "image_token_id"]],
  ["sound", ["audio_config", "num_mel_bins"]],
];

/**
 * The features of a configuration that no family here computes, each with the key that tells it; empty where the keys say
 * nothing. @param has whether a key is there, and set @returns for example ["latent attention (kv_lora_rank)"]
 */
export function missingFeatures(has: (key: string) => boolean): string[] {
  return FEATURES.flatMap(([feature, keys]) => {
    const key = keys.find(has);
    return key === undefined ? [] : [`${feature} (${key})`];
  });
}

/** The end of a message: "; heddle lacks …", or nothing. */
export function lacks(has: (key: string) => boolean): string {
  const missing = missingFeatures(has);
  return missing.length > 0 ? `; heddle lacks ${missing.join(", ")}` : "";
}
