import { withoutUndefined } from "../core/without-undefined.ts";

/** The names of a decoder's weights, without `.weight` and `.bias`. @experimental */
export interface DecoderNames {
  embedding: string;
  /** Prefix of a layer's names, followed by its number. */
  layers: string;
  /** The norm after the last layer. */
  norm: string;
  head: string;
  /** The attention block of a layer, and names of weights below it. */
  attention: string;
  qkv: string;
  output: string;
  queryNorm: string;
  keyNorm: string;
  /** The feed-forward block of a layer, and its weights if gate and up are one projection. */
  mlp: string;
  gateUp: string;
  down: string;
  /** The norms of a layer, before and after its two blocks. */
  beforeAttention: string;
  afterAttention: string;
  beforeMlp: string;
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
