// What an unknown model would need and heddle does not have, told by its name and by the keys and values of its configuration.
import { isActivation } from "./activations.ts";

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

/** Families whose configurations say by their names alone what they need. */
const BY_NAME: readonly (readonly [name: RegExp, features: readonly string[]])[] = [
  [/^llama4/, ["attention in chunks", "its routing of experts"]],
  [/^opt$/, ["its feed-forward blocks (ReLU without a gate)", "its positions, which begin at 2"]],
  [/^xlm-roberta-xl$/, ["BERT's blocks with their norms before them"]],
  [/^deberta(-v2)?$/, ["attention to words and positions apart"]],
  [/^albert$/, ["layers that share their weights"]],
  [/^nomic[-_]bert-moe$/, ["BERT with rotary positions and experts"]],
  [/^jina-bert-v3$/, ["BERT with rotary positions"]],
  [/^jina-bert-v2$/, ["BERT with linear biases of positions (ALiBi)"]],
  [/^(neo-bert|eurobert)$/, ["a decoder's blocks that read both ways"]],
  [/^nemotron$/, ["its feed-forward blocks (squared ReLU without a gate)"]],
];

/** A configuration as far as it is looked at. */
export interface UnknownModel {
  /** Its `model_type`, or `general.architecture`. */
  name: unknown;
  /** A value by its key; undefined where it is not set. */
  value(key: string): unknown;
}

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
  const named = BY_NAME.flatMap(([names, features]) => (typeof name === "string" && names.test(name) ? features : []));
  const others = named.filter((feature) => !told.some((other) => other.feature === feature));
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

/** The end of a message: "; heddle lacks …", or nothing. */
export function lacks(model: UnknownModel): string {
  const missing = missingFeatures(model);
  return missing.length > 0 ? `; heddle lacks ${missing.join(", ")}` : "";
}
