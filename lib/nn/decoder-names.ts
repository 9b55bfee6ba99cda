import { withoutUndefined } from "../core/without-undefined.ts";

/** The names of a decoder's weights, without `.weight` and `.bias`. @experimental */
export interface DecoderNames {
  /** The token embeddings. */
  embedding: string;
  /** Prefix of a layer's names, followed by its number. */
  layers: string;
  /** The norm after the last layer. */
  norm: string;
  /** The head for logits. */
  head: string;
  /** The attention block of a layer. `qkv`, `output`, `queryNorm` and `keyNorm` are names within this block. */
  attention: string;
  /** The projection to queries, keys and values, if one projection computes all three. */
  qkv: string;
  /** The projection of the attention's result. */
  output: string;
  /** The norm of the queries. */
  queryNorm: string;
  /** The norm of the keys. */
  keyNorm: string;
  /** The feed-forward block of a layer. `gateUp` and `down` are names within this block. */
  mlp: string;
  /** The projection to gate and up, if one projection computes both. */
  gateUp: string;
  /** The projection back to the hidden width. */
  down: string;
  /** The norm before the attention block. */
  beforeAttention: string;
  /** The norm of the attention's result. */
  afterAttention: string;
  /** The norm before the feed-forward block. */
  beforeMlp: string;
  /** The norm of the feed-forward block's result. */
  afterMlp: string;
}

const LLAMA: DecoderNames = {
  embedding: "model.embed_tokens",
  layers: "model.layers",
  norm: "model.norm",
  head: "lm_head",
  attention: "self_attn",
  qkv: "qkv_proj",
  output: "o_proj",
  queryNorm: "q_norm",
  keyNorm: "k_norm",
  mlp: "mlp",
  gateUp: "gate_up_proj",
  down: "down_proj",
  beforeAttention: "input_layernorm",
  afterAttention: "post_attention_layernorm",
  beforeMlp: "pre_feedforward_layernorm",
  afterMlp: "post_feedforward_layernorm",
};

/** The keys of `DecoderNames`. */
export const DECODER_NAMES = Object.keys(LLAMA) as (keyof DecoderNames)[];

/** Returns Llama's names, overridden by the family's names. */
export function decoderNames({
  norms = "before",
  names,
}: {
  norms?: "before" | "around" | "after" | undefined;
  names?: { [Name in keyof DecoderNames]?: DecoderNames[Name] | undefined } | undefined;
}): DecoderNames {
  // Llama names the norm before its feed-forward block `post_attention_layernorm`.
  return { ...LLAMA, ...(norms === "before" && { beforeMlp: LLAMA.afterAttention }), ...withoutUndefined(names ?? {}) };
}
