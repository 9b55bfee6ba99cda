// Unsupported model types, each with the nearest supported type and the features that heddle lacks for it.

import { nearest } from "../../core/nearest-name.ts";
import { isModelType, knownModelTypes } from "./families.ts";

interface OtherType {
  /** Matches `model_type` of config.json, or `general.architecture` of GGUF. */
  name: RegExp;
  /** The nearest supported type. Undefined if no supported type has the same blocks. */
  like?: string;
  /** Features that the type needs and heddle lacks, if the keys of a configuration may not show them. */
  lacks?: readonly string[];
}

const IMAGES = ["images"];
const ROUTING = ["its expert routing"];
const STATE_SPACE = ["state-space layers"];
const ENCODER = ["an encoder beside the decoder"];

/** The first matching entry applies. */
const OTHERS: readonly OtherType[] = [
  { name: /^llama4/, like: "llama", lacks: ["chunked attention", ...ROUTING] },
  { name: /^mllama/, like: "llama", lacks: ["cross-attention to images"] },
  { name: /^(llava|smolvlm|idefics3|vipllava)/, like: "llama", lacks: IMAGES },
  { name: /^(mistral3|pixtral|idefics2)/, like: "mistral", lacks: IMAGES },
  { name: /^paligemma/, like: "gemma", lacks: IMAGES },
  { name: /^aya_vision$/, like: "cohere2", lacks: IMAGES },
  { name: /^glm4v/, like: "glm4", lacks: IMAGES },
  { name: /^internvl/, like: "qwen2", lacks: IMAGES },
  { name: /^phi3_v$|^phi4_multimodal$/, like: "phi3", lacks: IMAGES },
  { name: /^qwen2(_5)?_?vl/, like: "qwen2", lacks: [...IMAGES, "positions in images (M-RoPE)"] },
  { name: /^qwen3_?vl_?moe/, like: "qwen3_moe", lacks: [...IMAGES, "positions in images (M-RoPE)"] },
  { name: /^qwen3_?vl/, like: "qwen3", lacks: [...IMAGES, "positions in images (M-RoPE)"] },
  { name: /^qwen2(_5)?_(audio|omni)/, like: "qwen2", lacks: ["audio"] },
  { name: /^qwen3_?(next|5)/, like: "qwen3_moe", lacks: ["linear attention"] },
  { name: /^qwen$/, like: "qwen2", lacks: ["its weight names"] },
  { name: /^gemma3n/, like: "gemma3_text", lacks: ["per-layer embeddings", "several residual streams (AltUp)"] },
  { name: /^recurrent_?gemma/, like: "gemma", lacks: ["recurrent layers"] },
  { name: /^(deepseek|kimi|longcat|minicpm3|glm_moe_dsa)/, like: "qwen3_moe", lacks: ["latent attention", ...ROUTING] },
  { name: /^(glm4_?moe|dots1|minimax_m2|bailing|exaone_moe|ernie4_5_?moe)/, like: "qwen3_moe", lacks: ROUTING },
  { name: /^minimax/, like: "mixtral", lacks: ["linear attention"] },
  { name: /^hunyuan_v1_moe$|^hunyuan-moe$/, like: "hunyuan_v1_dense", lacks: ROUTING },
  { name: /^granitemoeshared$/, like: "granitemoe", lacks: ["shared experts"] },
  { name: /^(phimoe|arctic|dbrx|grok)/, like: "mixtral", lacks: ROUTING },
  { name: /^jetmoe$/, like: "mixtral", lacks: ["mixture-of-attention-heads"] },
  { name: /^jamba$/, like: "mixtral", lacks: STATE_SPACE },
  { name: /^(bamba|nemotron_h|falcon[_-]?h1|zamba2?|plamo2|phi4flash)/, like: "granitemoehybrid", lacks: STATE_SPACE },
  { name: /^(mamba2?|falcon_mamba)$/, lacks: STATE_SPACE },
  { name: /^(rwkv|arwkv|xlstm)/, lacks: ["recurrent layers"] },
  { name: /^lfm2/, like: "llama", lacks: ["convolutions between its attention layers"] },
  {
    name: /^opt$/,
    like: "gpt2",
    lacks: ["its feed-forward blocks (ReLU without a gate)", "its positions, which begin at 2"],
  },
  { name: /^(bloom|mpt)$/, like: "gpt2", lacks: ["linear position biases (ALiBi)"] },
  { name: /^gpt_neo$/, like: "gpt2", lacks: ["unscaled attention, local in every second layer"] },
  { name: /^(gpt_bigcode|starcoder)$/, like: "gpt2", lacks: ["multi-query attention"] },
  { name: /^openai-gpt$/, like: "gpt2", lacks: ["norms after its blocks"] },
  { name: /^(gptj|codegen)$/, like: "phi", lacks: ["feed-forward biases without attention biases"] },
  { name: /^falcon$/, like: "gpt_neox", lacks: ["its fused projections of grouped heads"] },
  { name: /^persimmon$/, like: "gpt_neox", lacks: ["its feed-forward blocks (squared ReLU without a gate)"] },
  { name: /^(nemotron|arcee)$/, like: "llama", lacks: ["its feed-forward blocks (squared ReLU without a gate)"] },
  {
    name: /^(internlm2?|baichuan|exaone|orion|xverse)$/,
    like: "llama",
    lacks: ["its weight names, some of them fused"],
  },
  { name: /^minicpm$/, like: "granite" },
  { name: /^chatglm$/, like: "glm", lacks: ["its weight names"] },
  { name: /^(apertus)$/, like: "qwen3", lacks: ["its activation (xIELU)"] },
  { name: /^diffllama$/, like: "llama", lacks: ["differential attention"] },
  { name: /^bitnet/, like: "llama", lacks: ["ternary weights with norms before each projection"] },
  { name: /^(m?t5|umt5|t5gemma|longt5|m?bart|pegasus|marian|m2m_100|led|prophetnet|blenderbot)/, lacks: ENCODER },
  { name: /^(whisper|wav2vec2|hubert|speech)/, lacks: [...ENCODER, "audio"] },
  { name: /^(clip|siglip|vit|dinov2)/, lacks: IMAGES },
  {
    name: /^xlm-roberta-xl$|^megatron-bert$|^roberta-prelayernorm$/,
    like: "roberta",
    lacks: ["BERT's blocks with pre-norm"],
  },
  { name: /^deberta(-v2)?$/, like: "bert", lacks: ["disentangled attention"] },
  { name: /^albert$/, like: "bert", lacks: ["layers that share their weights"] },
  { name: /^(longformer|big_bird)$/, like: "roberta", lacks: ["sparse attention with global tokens"] },
  { name: /^roformer$/, like: "bert", lacks: ["BERT with rotary positions"] },
  { name: /^nomic[-_]bert-moe$/, like: "nomic_bert", lacks: ["BERT with rotary positions and experts"] },
  { name: /^jina-bert-v3$/, like: "nomic_bert", lacks: ["BERT with rotary positions"] },
  { name: /^jina-bert-v2$/, like: "bert", lacks: ["BERT with linear position biases (ALiBi)"] },
  { name: /^(neo-?bert|eurobert)$/, like: "modernbert", lacks: ["decoder blocks with bidirectional attention"] },
  { name: /^ernie$/, like: "bert", lacks: ["task-type embeddings"] },
];

/** The parts of a configuration that are inspected. */
export interface UnknownModel {
  /** The model's `model_type`, or `general.architecture`. */
  name: unknown;
  /** Returns the value of a key, or undefined if it is not set. */
  value(key: string): unknown;
  /** The keys that are set. */
  keys: readonly string[];
}

/** Returns the unsupported features that a type's name implies. */
export function neededByName(name: unknown): readonly string[] {
  return known(name)?.lacks ?? [];
}

/** Returns the supported type that is nearest to an unsupported one. Undefined if none shares blocks with it. */
export function nearestType({ name, value }: UnknownModel): string | undefined {
  const other = known(name);
  if (other) return other.like;
  const text = value("model_type");
  if (isModelType(text)) return text;
  const types = knownModelTypes();
  const spelt = typeof name === "string" ? name.toLowerCase() : "";
  const begins = types.filter((type) => spelt.startsWith(type)).sort((a, b) => b.length - a.length);
  return begins[0] ?? nearest(spelt, types) ?? byStructure(spelt, value);
}

/** Returns the entry of an unsupported type. A type that a family has is supported, even if it still has an entry. */
function known(name: unknown): OtherType | undefined {
  if (typeof name !== "string" || isModelType(name)) return undefined;
  return OTHERS.find((one) => one.name.test(name));
}

function byStructure(name: string, value: UnknownModel["value"]): string {
  const has = (...keys: string[]) => keys.some((key) => (value(key) ?? false) !== false);
  if (/bert|encoder/.test(name) || has("type_vocab_size") || value("attention.causal") === false) return "bert";
  if (has("num_experts", "num_local_experts", "n_routed_experts", "expert_count")) return "mixtral";
  const layerNorm = has("layer_norm_eps", "layer_norm_epsilon", "attention.layer_norm_epsilon");
  return layerNorm && !has("rms_norm_eps", "attention.layer_norm_rms_epsilon") ? "gpt_neox" : "llama";
}

/** config.json keys that do not change the layers' computation, or whose names differ between families. */
const NEUTRAL =
  /^_|^(architectures|model_type|auto_map|torch_dtype|dtype|transformers_version|use_cache|id2label|label2id|problem_type|pretraining_tp|return_dict|task_specific_params|tokenizer_class|is_decoder|vocab_size|hidden_size|d_model|n_embd|intermediate_size|ffn_dim|n_inner|n_ctx|num_hidden_layers|num_layers|n_layers?|num_attention_heads|n_heads?|num_key_value_heads|head_dim|max_position_embeddings|n_positions|max_sequence_length|layer_types|hidden_act|hidden_activation|activation_function|type_vocab_size|tie_word_embeddings|attention_bias|mlp_bias|use_bias|bias|context_length|embedding_length|block_count|feed_forward_length|file_type)$|token_id$|dropout|pdrop|_drop$|norm_eps|norm_epsilon|^initializer|_range$|_std$|rope|sliding|window|partial_rotary|^attention\.(head_count|key_length|value_length|causal|layer_norm|sliding)|^output_|gradient_checkpointing|_config$|^num_labels$|^(name|use_return_dict)$/;

/** Returns keys that no known feature explains: the first four, followed by "…" if there are more. */
export function unexplainedKeys({ keys, value }: UnknownModel): string[] {
  const unexplained = keys.filter((key) => {
    const set = value(key);
    return !NEUTRAL.test(key) && set !== 0 && set !== "" && key.length <= 60;
  });
  return unexplained.length > 4 ? [...unexplained.slice(0, 4), "…"] : unexplained;
}
