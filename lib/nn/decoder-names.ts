import { given } from "./given.ts";

/** What a decoder's weights are called, without `.weight` and `.bias`. */
export interface DecoderNames {
  embedding: string;
  /** Before a layer's number. */
  layers: string;
  /** The last norm. */
  norm: string;
  head: string;
  /** Of a layer: attention, and what lies in it. */
  attention: string;
  qkv: string;
  output: string;
  queryNorm: string;
  keyNorm: string;
  /** Of a layer: the feed-forward block, and what lies in it where gate and up are one projection. */
  mlp: string;
  gateUp: string;
  down: string;
  /** Of a layer: its norms. */
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
