// Tensor names and layouts: transformers ↔ GGUF, for the families heddle knows.
import type { ModelConfig, ModelType } from "../config/config.ts";
import { formatOf, knownModelTypes } from "../config/families.ts";
import { EMBEDDING_LAYERS } from "../sentence-transformers/names.ts";

/** The family of a `general.architecture`: the first of those that share one. Mistral's files call themselves llama, OLMo 3's olmo2. */
export function familyOfArchitecture(architecture: string): ModelType | undefined {
  return knownModelTypes().find((type) => architecturesOf(type).includes(architecture));
}

/** Architecture names in a family's files. Bidirectional models may have a separate one. */
function architecturesOf(modelType: ModelType): string[] {
  const { gguf, bothWays } = formatOf(modelType);
  return [gguf, bothWays?.gguf].filter((name) => name !== undefined);
}

/** `general.architecture` of a model's file, or undefined if GGUF has none. */
export function ggufArchitecture({ modelType, useBidirectionalAttention }: ModelConfig): string | undefined {
  const { gguf, bothWays } = formatOf(modelType);
  return (useBidirectionalAttention && bothWays?.gguf) || gguf;
}

/** Whether files of an architecture are of models that attend both ways, whatever they say. */
export function isBothWays(architecture: string): boolean {
  return knownModelTypes().some((type) => formatOf(type).bothWays?.gguf === architecture);
}

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
const GPT_NEOX_TOP: readonly Pair[] = [
  ["gpt_neox.embed_in", "token_embd"],
  ["gpt_neox.final_layer_norm", "output_norm"],
  ["embed_out", "output"],
];
const GPT_NEOX_LAYER: readonly Pair[] = [
  ["input_layernorm", "attn_norm"],
  ["attention.query_key_value", "attn_qkv"],
  ["attention.dense", "attn_output"],
  ["post_attention_layernorm", "ffn_norm"],
  ["mlp.dense_h_to_4h", "ffn_up"],
  ["mlp.dense_4h_to_h", "ffn_down"],
];
const PHI_TOP: readonly Pair[] = [
  ["model.embed_tokens", "token_embd"],
  ["model.final_layernorm", "output_norm"],
  ["lm_head", "output"],
];
const PHI_LAYER: readonly Pair[] = [
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.dense", "attn_output"],
  ["mlp.fc1", "ffn_up"],
  ["mlp.fc2", "ffn_down"],
];
const bertEmbeddings = (prefix: string): Pair[] => [
  [`${prefix}.embeddings.word_embeddings`, "token_embd"],
  [`${prefix}.embeddings.position_embeddings`, "position_embd"],
  [`${prefix}.embeddings.token_type_embeddings`, "token_types"],
  [`${prefix}.embeddings.LayerNorm`, "token_embd_norm"],
];
const BERT_TOP: readonly Pair[] = [
  ...bertEmbeddings("bert"),
  ["bert.pooler.dense", "cls"],
  ["classifier", "cls.output"],
];
// The same head by other names.
const ROBERTA_TOP: readonly Pair[] = [
  ...bertEmbeddings("roberta"),
  ["classifier.dense", "cls"],
  ["classifier.out_proj", "cls.output"],
];
const BERT_LAYER: readonly Pair[] = [
  ["attention.self.query", "attn_q"],
  ["attention.self.key", "attn_k"],
  ["attention.self.value", "attn_v"],
  ["attention.output.dense", "attn_output"],
  ["attention.output.LayerNorm", "attn_output_norm"],
  ["intermediate.dense", "ffn_up"],
  ["output.dense", "ffn_down"],
  ["output.LayerNorm", "layer_output_norm"],
];
const DISTILBERT_LAYER: readonly Pair[] = [
  ["attention.q_lin", "attn_q"],
  ["attention.k_lin", "attn_k"],
  ["attention.v_lin", "attn_v"],
  ["attention.out_lin", "attn_output"],
  ["sa_layer_norm", "attn_output_norm"],
  ["ffn.lin1", "ffn_up"],
  ["ffn.lin2", "ffn_down"],
  ["output_layer_norm", "layer_output_norm"],
];
const MODERNBERT_TOP: readonly Pair[] = [
  ["model.embeddings.tok_embeddings", "token_embd"],
  ["model.embeddings.norm", "token_embd_norm"],
  ["model.final_norm", "output_norm"],
  ["head.dense", "cls"],
  ["head.norm", "cls.norm"],
  ["classifier", "cls.output"],
];
const MODERNBERT_LAYER: readonly Pair[] = [
  ["attn_norm", "attn_norm"],
  ["attn.Wqkv", "attn_qkv"],
  ["attn.Wo", "attn_output"],
  ["mlp_norm", "ffn_norm"],
  ["mlp.Wi", "ffn_up"],
  ["mlp.Wo", "ffn_down"],
];
const NOMIC_TOP: readonly Pair[] = [
  ["embeddings.word_embeddings", "token_embd"],
  ["embeddings.token_type_embeddings", "token_types"],
  ["emb_ln", "token_embd_norm"],
];
const NOMIC_LAYER: readonly Pair[] = [
  ["attn.Wqkv", "attn_qkv"],
  ["attn.out_proj", "attn_output"],
  ["norm1", "attn_output_norm"],
  ["mlp.fc11", "ffn_up"],
  ["mlp.fc12", "ffn_gate"],
  ["mlp.fc2", "ffn_down"],
  ["norm2", "layer_output_norm"],
];

interface Names {
  /** Prefix of a layer's names in transformers. */
  layers: string;
  top: readonly Pair[];
  layer: readonly Pair[];
}
const LLAMA_NAMES: Names = { layers: "model.layers", top: LLAMA_TOP, layer: LLAMA_LAYER };
const ROBERTA_NAMES: Names = { layers: "roberta.encoder.layer", top: ROBERTA_TOP, layer: BERT_LAYER };
/** Families whose names are not llama's. */
const NAMES: Readonly<Record<string, Names>> = {
  gpt2: { layers: "transformer.h", top: GPT2_TOP, layer: GPT2_LAYER },
  gpt_neox: { layers: "gpt_neox.layers", top: GPT_NEOX_TOP, layer: GPT_NEOX_LAYER },
  phi: { layers: "model.layers", top: PHI_TOP, layer: PHI_LAYER },
  bert: { layers: "bert.encoder.layer", top: BERT_TOP, layer: BERT_LAYER },
  roberta: ROBERTA_NAMES,
  "xlm-roberta": ROBERTA_NAMES,
  camembert: ROBERTA_NAMES,
  distilbert: { layers: "distilbert.transformer.layer", top: bertEmbeddings("distilbert"), layer: DISTILBERT_LAYER },
  nomic_bert: { layers: "encoder.layers", top: NOMIC_TOP, layer: NOMIC_LAYER },
  modernbert: { layers: "model.layers", top: MODERNBERT_TOP, layer: MODERNBERT_LAYER },
};

/** Where a family's layers have other names; they come before those of llama. */
const POST_NORMS: readonly Pair[] = [
  ["post_attention_layernorm", "post_attention_norm"],
  ["post_feedforward_layernorm", "post_ffw_norm"],
];
const SANDWICH: readonly Pair[] = [...POST_NORMS, ["pre_feedforward_layernorm", "ffn_norm"]];
const expertsOf = (block: string, router: string): Pair[] => [
  [`${block}.${router}`, "ffn_gate_inp"],
  [`${block}.experts.gate_proj`, "ffn_gate_exps"],
  [`${block}.experts.up_proj`, "ffn_up_exps"],
  [`${block}.experts.down_proj`, "ffn_down_exps"],
];
const OWN_LAYER: Readonly<Record<string, readonly Pair[]>> = {
  gemma2: SANDWICH,
  gemma3_text: SANDWICH,
  olmo2: POST_NORMS,
  olmo3: POST_NORMS,
  exaone4: POST_NORMS,
  hunyuan_v1_dense: [
    ["self_attn.query_layernorm", "attn_q_norm"],
    ["self_attn.key_layernorm", "attn_k_norm"],
  ],
  qwen2_moe: [
    ...expertsOf("mlp", "gate"),
    ["mlp.shared_expert_gate", "ffn_gate_inp_shexp"],
    ["mlp.shared_expert.gate_proj", "ffn_gate_shexp"],
    ["mlp.shared_expert.up_proj", "ffn_up_shexp"],
    ["mlp.shared_expert.down_proj", "ffn_down_shexp"],
  ],
  qwen3_moe: expertsOf("mlp", "gate"),
  mixtral: expertsOf("block_sparse_moe", "gate"),
  granitemoehybrid: [
    ["shared_mlp.gate_proj", "ffn_gate"],
    ["shared_mlp.up_proj", "ffn_up"],
    ["shared_mlp.output_linear", "ffn_down"],
  ],
  granitemoe: expertsOf("block_sparse_moe", "router.layer"),
  olmoe: expertsOf("mlp", "gate"),
  gpt_oss: [["post_attention_layernorm", "post_attention_norm"], ...expertsOf("mlp", "router")],
  seed_oss: [["post_attention_layernorm", "post_attention_norm"]],
  starcoder2: [
    ["mlp.c_fc", "ffn_up"],
    ["mlp.c_proj", "ffn_down"],
  ],
  glm: [["mlp.gate_up_proj", "ffn_up"]],
  glm4: [
    ["post_self_attn_layernorm", "post_attention_norm"],
    ["mlp.gate_up_proj", "ffn_up"],
    ["post_mlp_layernorm", "post_ffw_norm"],
  ],
  phi3: [
    ["self_attn.qkv_proj", "attn_qkv"],
    ["mlp.gate_up_proj", "ffn_up"],
  ],
};

/** Layers behind pooling, which EmbeddingGemma's files alone have. */
const OWN_TOP: Readonly<Record<string, readonly Pair[]>> = {
  gemma3_text: [
    [`${EMBEDDING_LAYERS}0`, "dense_2"],
    [`${EMBEDDING_LAYERS}1`, "dense_3"],
  ],
};

/** "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight"; undefined for a name the family does not have. */
export function ggufName(huggingFace: string, modelType: ModelType): string | undefined {
  const sinks = /^model\.layers\.([0-9]{1,4})\.self_attn\.sinks$/.exec(huggingFace);
  if (sinks) return `blk.${sinks[1]}.attn_sinks.weight`;
  return translate(huggingFace, modelType, 0);
}

/** "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; undefined for a name the family does not have. */
export function huggingFaceName(gguf: string, modelType: ModelType): string | undefined {
  const sinks = modelType === "gpt_oss" && /^blk\.([0-9]{1,4})\.attn_sinks\.weight$/.exec(gguf);
  if (sinks) return `model.layers.${sinks[1]}.self_attn.sinks`;
  return singleExpert(gguf, modelType) ?? translate(gguf, modelType, 1);
}

/** "blk.3.ffn_gate.7.weight": files of before llama.cpp had experts in stacks, which were Mixtral's. */
function singleExpert(gguf: string, modelType: ModelType): string | undefined {
  const [, layer, kind, expert] = /^blk\.([0-9]{1,4})\.ffn_(gate|up|down)\.([0-9]{1,5})\.weight$/.exec(gguf) ?? [];
  const { block, names } = formatOf(modelType).experts ?? {};
  if (layer === undefined || !names) return undefined;
  return `model.layers.${layer}.${block ?? "mlp"}.experts.${expert}.${names[kind as "gate" | "up" | "down"]}.weight`;
}

function translate(name: string, modelType: ModelType, from: 0 | 1): string | undefined {
  const names = NAMES[modelType] ?? LLAMA_NAMES;
  const to = from === 0 ? 1 : 0;
  const layerPrefixes: Pair = [names.layers, "blk"];
  const match = /^(.*)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, stem, suffix] = match as unknown as [string, string, string];
  const registered = registeredName(stem, formatOf(modelType).ggufNames ?? [], from);
  if (registered !== undefined) return `${registered}.${suffix}`;

  const top = [...names.top, ...(OWN_TOP[modelType] ?? [])].find((pair) => pair[from] === stem);
  if (top) return `${top[to]}.${suffix}`;

  const prefix = `${layerPrefixes[from]}.`;
  if (!stem.startsWith(prefix)) return undefined;
  const layer = /^([0-9]{1,4})\.(.*)$/.exec(stem.slice(prefix.length));
  if (!layer) return undefined;
  const own = OWN_LAYER[modelType] ?? [];
  const named = (pairs: readonly Pair[]) => pairs.find((candidate) => candidate[from] === layer[2]);
  const pair = named(own) ?? named(names.layer);
  // A name of llama that the family gives to another tensor is not this one's.
  if (!pair || (!own.includes(pair) && own.some((other) => other[to] === pair[to]))) return undefined;
  return `${layerPrefixes[to]}.${layer[1]}.${pair[to]}.${suffix}`;
}

/** By a registered family's own pairs. */
function registeredName(stem: string, pairs: readonly Pair[], from: 0 | 1): string | undefined {
  const layer = /(?:^|\.)([0-9]{1,4})(?=\.|$)/.exec(stem)?.[1];
  const pattern = stem.replace(/(^|\.)[0-9]{1,4}(?=\.|$)/, "$1{layer}");
  const pair = pairs.find((candidate) => candidate[from] === pattern);
  return pair?.[from === 0 ? 1 : 0].replace("{layer}", layer ?? "");
}

/** How a file stores weights where the two formats differ. A loader that honours these needs no copy. */
export interface WeightLayout {
  /**
   * The rows of q and k are ordered so that neighbours rotate together (GGUF llama, mistral, granite, smollm3) instead
   * of halves (transformers): rope's `interleaved`.
   */
  ropeInterleaved: boolean;
  /** rms_norm's `offset`: 1 where the file stores w of (1 + w) (gemma in transformers), 0 where it stores the sum. */
  normOffset: 0 | 1;
  /** Matrices of attention and MLP are (in, out) (gpt2 in transformers): linear's `transposed`. Never lm_head. */
  linearTransposed: boolean;
}

/** Whether llama.cpp turns neighbours of each head together (its "normal" rope) where transformers turns halves. */
export function pairsNeighbours(modelType: ModelType): boolean {
  const architecture = formatOf(modelType).gguf;
  return ["llama", "granite", "granitemoe", "smollm3"].includes(architecture ?? "");
}

function isGemma(modelType: ModelType): boolean {
  return modelType.startsWith("gemma");
}

export function weightLayout(config: ModelConfig, format: "safetensors" | "gguf"): WeightLayout {
  const gguf = format === "gguf";
  return {
    ropeInterleaved: gguf && pairsNeighbours(config.modelType),
    normOffset: isGemma(config.modelType) && !gguf ? 1 : 0,
    linearTransposed: config.modelType === "gpt2" && !gguf,
  };
}

/** The layout change of a tensor between the two formats. */
export type LayoutChange =
  | { kind: "none" }
  /** Rows of each head: halves ↔ neighbours. */
  | { kind: "rope"; heads: number }
  /** Rows of q, k and v: those of each head together ↔ all of q, all of k, all of v (GGUF). */
  | { kind: "qkv"; heads: number }
  /** + 1 towards GGUF, - 1 towards transformers. */
  | { kind: "norm" }
  | { kind: "transpose" };

/** By the tensor's name in transformers. */
export function layoutChange(huggingFace: string, config: ModelConfig): LayoutChange {
  const { modelType, numAttentionHeads, numKeyValueHeads } = config;
  if (pairsNeighbours(modelType)) {
    if (/\.self_attn\.q_proj\./.test(huggingFace)) return { kind: "rope", heads: numAttentionHeads };
    if (/\.self_attn\.k_proj\./.test(huggingFace)) return { kind: "rope", heads: numKeyValueHeads };
  }
  if (modelType === "gpt_neox" && /\.query_key_value\./.test(huggingFace))
    return { kind: "qkv", heads: numAttentionHeads };
  if (isGemma(modelType) && /norm\.weight$/.test(huggingFace)) return { kind: "norm" };
  if (modelType === "gpt2" && /\.h\.[0-9]+\.(attn|mlp)\.c_[a-z]+\.weight$/.test(huggingFace))
    return { kind: "transpose" };
  return { kind: "none" };
}

/** The GGUF row of a head (of `width` rows) that transformers' row `row` comes from: GGUF's row 2j + p is transformers' row p · width / 2 + j. */
export function neighbourRow(row: number, width: number): number {
  const half = width / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}
