// Converts tensor names and layouts between transformers and GGUF, by the facts of each family.
import type { ModelConfig } from "../config/config.ts";
import { formatOf, knownModelTypes } from "../config/families.ts";

/**
 * Returns the family of a `general.architecture`, or undefined if the architecture is unknown. If several families
 * share the architecture, returns the one without `sharedWhen`.
 */
export function familyOfArchitecture(architecture: string): string | undefined {
  return knownModelTypes().find((type) => {
    const { bidirectional, gguf } = formatOf(type);
    if (bidirectional?.gguf === architecture) return true;
    return gguf?.architecture === architecture && gguf.sharedWhen === undefined;
  });
}

/** Returns the family with this architecture and with `what` as its `sharedWhen`, or undefined. */
export function familySharing(architecture: string, what: "windows" | "experts" | "no segments"): string | undefined {
  return knownModelTypes().find((type) => {
    const { gguf } = formatOf(type);
    return gguf?.architecture === architecture && gguf.sharedWhen === what;
  });
}

/** Returns `general.architecture` of a model's file, or undefined if GGUF has no architecture for the family. */
export function ggufArchitecture({ modelType, useBidirectionalAttention }: ModelConfig): string | undefined {
  const { gguf, bidirectional } = formatOf(modelType);
  return (useBidirectionalAttention && bidirectional?.gguf) || gguf?.architecture;
}

/** Whether all models of an architecture are bidirectional. Its files do not need the key `attention.causal`. */
export function isBidirectional(architecture: string): boolean {
  return knownModelTypes().some((type) => formatOf(type).bidirectional?.gguf === architecture);
}

type Pair = readonly [huggingFace: string, gguf: string];

/** Llama's names. A family's own names take precedence. */
const LLAMA: readonly Pair[] = [
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm"],
  ["lm_head", "output"],
  ["model.layers.{layer}.input_layernorm", "blk.{layer}.attn_norm"],
  ["model.layers.{layer}.self_attn.q_proj", "blk.{layer}.attn_q"],
  ["model.layers.{layer}.self_attn.k_proj", "blk.{layer}.attn_k"],
  ["model.layers.{layer}.self_attn.v_proj", "blk.{layer}.attn_v"],
  ["model.layers.{layer}.self_attn.o_proj", "blk.{layer}.attn_output"],
  ["model.layers.{layer}.self_attn.q_norm", "blk.{layer}.attn_q_norm"],
  ["model.layers.{layer}.self_attn.k_norm", "blk.{layer}.attn_k_norm"],
  ["model.layers.{layer}.post_attention_layernorm", "blk.{layer}.ffn_norm"],
  ["model.layers.{layer}.mlp.gate_proj", "blk.{layer}.ffn_gate"],
  ["model.layers.{layer}.mlp.up_proj", "blk.{layer}.ffn_up"],
  ["model.layers.{layer}.mlp.down_proj", "blk.{layer}.ffn_down"],
];

/**
 * Converts "model.layers.3.self_attn.q_proj.weight" to "blk.3.attn_q.weight". Returns undefined for a name that the
 * family does not have.
 */
export function ggufName(huggingFace: string, modelType: string): string | undefined {
  return translate(huggingFace, modelType, 0);
}

/**
 * Converts "blk.3.attn_q.weight" to "model.layers.3.self_attn.q_proj.weight". Returns undefined for a name that the
 * family does not have.
 */
export function huggingFaceName(gguf: string, modelType: string): string | undefined {
  return singleExpert(gguf, modelType) ?? translate(gguf, modelType, 1);
}

/**
 * Converts "blk.3.ffn_gate.7.weight", the name of a single expert. Mixtral files have such names if they were made before llama.cpp
 * stacked experts. Returns undefined for other names.
 */
function singleExpert(gguf: string, modelType: string): string | undefined {
  const [, layer, kind, expert] = /^blk\.([0-9]{1,4})\.ffn_(gate|up|down)\.([0-9]{1,5})\.weight$/.exec(gguf) ?? [];
  const { block, names } = formatOf(modelType).experts ?? {};
  if (layer === undefined || !names) return undefined;
  return `model.layers.${layer}.${block ?? "mlp"}.experts.${expert}.${names[kind as "gate" | "up" | "down"]}.weight`;
}

function translate(name: string, modelType: string, from: 0 | 1): string | undefined {
  const to = from === 0 ? 1 : 0;
  const { names = {}, complete } = formatOf(modelType).gguf ?? {};
  const own = Object.entries(names);
  /** Renames `stem` with the first pair that matches it. `{layer}` in a pair stands for the first number of a name. */
  const renamed = (stem: string, pairs: readonly Pair[]) => {
    const layer = /(?:^|\.)([0-9]{1,4})(?=\.|$)/.exec(stem)?.[1];
    const pattern = stem.replace(/(^|\.)[0-9]{1,4}(?=\.|$)/, "$1{layer}");
    const pair = pairs.find((candidate) => candidate[from] === pattern || candidate[from] === stem);
    return pair?.[to].replace("{layer}", layer ?? "");
  };
  const [, stem, suffix] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  const whole = renamed(name, own);
  if (whole !== undefined || stem === undefined) return whole;
  // Skip pairs of LLAMA whose target name the family uses for another tensor.
  const free = complete ? [] : LLAMA.filter((pair) => !own.some((other) => other[to] === pair[to]));
  const found = renamed(stem, [...own, ...free]);
  return found && `${found}.${suffix}`;
}

/** The layout change of a tensor between the two formats. */
export type LayoutChange =
  | { kind: "none" }
  /** Reorders the rows of each head. Rows that rotate together are half a head apart (transformers) or adjacent (GGUF). */
  | { kind: "rope"; heads: number }
  /** Reorders rows of q, k and v: one group per head (transformers) ↔ all of q, all of k, all of v (GGUF). */
  | { kind: "qkv"; heads: number }
  /** Adds 1 in a conversion to GGUF, and subtracts 1 in a conversion to transformers. */
  | { kind: "norm" }
  | { kind: "transpose" };

/** Returns the layout change of a tensor, by its name in transformers. */
export function layoutChange(huggingFace: string, config: ModelConfig): LayoutChange {
  const { modelType, numAttentionHeads, numKeyValueHeads } = config;
  const layout = formatOf(modelType).gguf?.layout;
  if (layout === "rope") {
    if (/\.self_attn\.q_proj\./.test(huggingFace)) return { kind: "rope", heads: numAttentionHeads };
    if (/\.self_attn\.k_proj\./.test(huggingFace)) return { kind: "rope", heads: numKeyValueHeads };
  }
  if (layout === "qkv" && /\.query_key_value\./.test(huggingFace)) return { kind: "qkv", heads: numAttentionHeads };
  if (layout === "norm" && /norm\.weight$/.test(huggingFace)) return { kind: "norm" };
  if (layout === "transpose" && /\.h\.[0-9]+\.(attn|mlp)\.c_[a-z]+\.weight$/.test(huggingFace))
    return { kind: "transpose" };
  return { kind: "none" };
}

/**
 * Returns the index in GGUF of transformers' row `row`, within a head of `width` rows. GGUF's row 2j + p is transformers'
 * row p · width / 2 + j, where p is 0 or 1.
 */
export function ggufRow(row: number, width: number): number {
  const half = width / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}
