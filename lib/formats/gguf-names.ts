// Tensor names and layouts: transformers ↔ GGUF, for the families heddle knows.
import type { ModelConfig, ModelType } from "./config.ts";

/** `general.architecture` of a family. Mistral's files call themselves llama. */
export const GGUF_ARCHITECTURES: Readonly<Record<ModelType, string>> = {
  llama: "llama",
  mistral: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
  gpt2: "gpt2",
};

type Pair = readonly [huggingFace: string, gguf: string];

const LLAMA_TOP: readonly Pair[] = [
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["lm_head", "output"],
];
const LLAMA_LAYER: readonly Pair[] = [
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.o_proj", "attn_output"],
  ["self_attn.q_norm", "attn_q_norm"],
  ["self_attn.k_norm", "attn_k_norm"],
  ["post_attention_layernorm", "ffn_norm"],
  ["mlp.gate_proj", "ffn_gate"],
  ["mlp.up_proj", "ffn_up"],
  ["mlp.down_proj", "ffn_down"],
];
const GPT2_TOP: readonly Pair[] = [
  ["transformer.wte", "token_embd"],
  ["transformer.wpe", "position_embd"],
  ["transformer.ln_f", "output_norm"],
  ["lm_head", "output"],
];
const GPT2_LAYER: readonly Pair[] = [
  ["ln_1", "attn_norm"],
  ["attn.c_attn", "attn_qkv"],
  ["attn.c_proj", "attn_output"],
  ["ln_2", "ffn_norm"],
  ["mlp.c_fc", "ffn_up"],
  ["mlp.c_proj", "ffn_down"],
];

/** "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight"; undefined for a name the family does not have. */
export function ggufName(huggingFace: string, modelType: ModelType): string | undefined {
  return translate(huggingFace, modelType, 0);
}

/** "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; undefined for a name the family does not have. */
export function huggingFaceName(gguf: string, modelType: ModelType): string | undefined {
  return translate(gguf, modelType, 1);
}

function translate(name: string, modelType: ModelType, from: 0 | 1): string | undefined {
  const gpt2 = modelType === "gpt2";
  const to = from === 0 ? 1 : 0;
  const layerPrefixes: Pair = [gpt2 ? "transformer.h" : "model.layers", "blk"];
  const match = /^(.*)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, stem, suffix] = match as unknown as [string, string, string];

  const top = (gpt2 ? GPT2_TOP : LLAMA_TOP).find((pair) => pair[from] === stem);
  if (top) return `${top[to]}.${suffix}`;

  const prefix = `${layerPrefixes[from]}.`;
  if (!stem.startsWith(prefix)) return undefined;
  const layer = /^([0-9]{1,4})\.(.*)$/.exec(stem.slice(prefix.length));
  if (!layer) return undefined;
  const pair = (gpt2 ? GPT2_LAYER : LLAMA_LAYER).find((candidate) => candidate[from] === layer[2]);
  return pair && `${layerPrefixes[to]}.${layer[1]}.${pair[to]}.${suffix}`;
}

/** How a file stores weights where the two formats differ. A loader that honours these needs no copy. */
export interface WeightLayout {
  /**
   * The rows of q and k are ordered so that neighbours rotate together (GGUF llama and mistral) instead of halves
   * (transformers): rope's `interleaved`.
   */
  ropeInterleaved: boolean;
  /** rms_norm's `offset`: 1 where the file stores w of (1 + w) (gemma in transformers), 0 where it stores the sum. */
  normOffset: 0 | 1;
  /** Matrices of attention and MLP are (in, out) (gpt2 in transformers): linear's `transposed`. Never lm_head. */
  linearTransposed: boolean;
}

export function weightLayout(config: ModelConfig, format: "safetensors" | "gguf"): WeightLayout {
  const gguf = format === "gguf";
  return {
    ropeInterleaved: gguf && GGUF_ARCHITECTURES[config.modelType] === "llama",
    normOffset: config.modelType === "gemma" && !gguf ? 1 : 0,
    linearTransposed: config.modelType === "gpt2" && !gguf,
  };
}

/** What happens to one tensor's values between the two formats. */
export type LayoutChange =
  | { kind: "none" }
  /** Rows of each head: halves ↔ neighbours. */
  | { kind: "rope"; heads: number }
  /** + 1 towards GGUF, - 1 towards transformers. */
  | { kind: "norm" }
  | { kind: "transpose" };

/** By the tensor's name in transformers. */
export function layoutChange(huggingFace: string, config: ModelConfig): LayoutChange {
  const { modelType, numAttentionHeads, numKeyValueHeads } = config;
  if (GGUF_ARCHITECTURES[modelType] === "llama") {
    if (/\.self_attn\.q_proj\./.test(huggingFace)) return { kind: "rope", heads: numAttentionHeads };
    if (/\.self_attn\.k_proj\./.test(huggingFace)) return { kind: "rope", heads: numKeyValueHeads };
  }
  if (modelType === "gemma" && /norm\.weight$/.test(huggingFace)) return { kind: "norm" };
  if (modelType === "gpt2" && /\.h\.[0-9]+\.(attn|mlp)\.c_[a-z]+\.weight$/.test(huggingFace))
    return { kind: "transpose" };
  return { kind: "none" };
}

/**
 * The row of a head (of `width` rows) that GGUF's row `row` comes from: GGUF row 2j+p is transformers' row p·width/2 + j.
 */
export function halfSplitRow(row: number, width: number): number {
  return (row % 2) * (width / 2) + Math.floor(row / 2);
}

/** The inverse: the GGUF row that transformers' row `row` comes from. */
export function neighbourRow(row: number, width: number): number {
  const half = width / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}
