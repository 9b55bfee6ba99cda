import { given } from "./given.ts";

/** The names of a decoder's weights, without `.weight` and `.bias`. @experimental */
export interface DecoderNames {
  embedding: string;
  /** Before a layer's number. */
  layers: string;
  /** The last norm. */
  norm: string;
  head: string;
  /** Attention in a layer, and its parts. */
  attention: string;
  qkv: string;
  output: string;
  queryNorm: string;
  keyNorm: string;
  /** The feed-forward block of a layer, and its parts if gate and up are one projection. */
  mlp: string;
  gateUp: string;
  down: string;
  /** The norms of a layer. */
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

/** Llama's, but for those that a family has otherwise. */
export function decoderNames({
  norms = "before",
  names,
}: {
  norms?: "before" | "around" | "after" | undefined;
  names?: { [Name in keyof DecoderNames]?: DecoderNames[Name] | undefined } | undefined;
}): DecoderNames {
  // Llama calls the norm before its feed-forward block by what it comes after.
  return { ...LLAMA, ...(norms === "before" && { beforeMlp: LLAMA.afterAttention }), ...given(names ?? {}) };
}
