// The types of a model's configuration, written out because types inferred from schemas lose their comments.
// `config.ts` and `rope-scaling.ts` have the schemas; test/formats/config/config-types.test.ts holds both to each other, defaults included.
import type { OwnValue } from "./family-format.ts";

/** How texts become vectors. */
export interface EmbeddingConfig {
  /** How a text's hidden states are pooled. The results of several distinct modes are concatenated in order. Default: "mean". */
  pooling: PoolingMode | PoolingMode[];
  /** Vectors of length 1, so that their product is the cosine. Default true. */
  normalize: boolean;
  /** Layers that what was pooled goes through, in this order. Default: none. */
  layers?: EmbeddingLayer[] | undefined;
  /** Whether a prompt's tokens are pooled with the text's; the first and the last token always count. Default: true. */
  includePrompt?: boolean | undefined;
  /** Texts to put in front of others, by name: what the model was trained with, such as "query: ". Default: none. */
  prompts?: Record<string, string> | undefined;
  /** The prompt that texts get where a call names none. Default: none. */
  defaultPromptName?: string | undefined;
  /** How vectors are compared; it changes none of them. Default: none said, as cosine. */
  similarity?: "cosine" | "dot" | "euclidean" | "manhattan" | undefined;
  /** Number of leading dimensions to keep (Kusupati et al. 2022, "Matryoshka"), normalized again with `normalize`. Default: all. */
  truncateDim?: number | undefined;
  /** Tokens of a text at most, where that is less than the context. Default: the context. */
  maxSeqLength?: number | undefined;
  /** Whether texts are put in small letters first. Default: false. */
  lowercase?: boolean | undefined;
}

/**
 * A pooling mode for hidden states. "first" takes the first token ("cls" elsewhere), "max" the maximum per dimension. "mean_sqrt_len" is
 * the sum divided by the square root of the number of tokens. "weighted_mean" weights the n-th token by n (Muennighoff 2022, "SGPT").
 */
export type PoolingMode = "first" | "max" | "mean" | "mean_sqrt_len" | "weighted_mean" | "last";

/** A layer behind pooling: sentence-transformers' Dense or LayerNorm. */
export type EmbeddingLayer =
  | {
      type: "dense";
      /** Numbers that it makes. */
      outFeatures: number;
      bias: boolean;
      activation: "identity" | "tanh" | "relu" | "sigmoid" | "gelu" | "silu";
    }
  | { type: "layer_norm" };

/** A classification head on the trunk. */
export interface ClassifierConfig {
  /** One label for a text, or one for each of its tokens (that head has a bias, as transformers' have). */
  task: "sequence" | "token";
  /** Names by index; a single one: the head gives a number (regression, reward). */
  labels: string[];
  /** One label of several, any number of them at once, or a number. Default "single_label_classification". */
  problemType: "single_label_classification" | "multi_label_classification" | "regression";
  /** How a text's hidden states are pooled before the head. Default "last". */
  pooling: "last" | "mean" | "first";
  /** Divides logits before they become probabilities; fitted on held-out data (Guo et al. 2017). Default: 1, nothing is divided. */
  temperature?: number | undefined;
}

/** Makes all members of a type optional, or undefined. */
export type Optional<T> = { [Name in keyof T]?: T[Name] | undefined };

/** The same with what may be left out. */
export interface ClassifierConfigInput
  extends Pick<ClassifierConfig, "task" | "labels">,
    Optional<Omit<ClassifierConfig, "task" | "labels">> {}

/** Positions are divided by a factor (position interpolation). */
export interface LinearRopeScaling {
  ropeType: "linear";
  /** How many times the context is longer than that of the first training. */
  factor: number;
}

/** θ grows with the sequence, once it is longer than the first training's context (dynamic NTK). */
export interface DynamicRopeScaling {
  ropeType: "dynamic";
  /** How many times the context is longer than that of the first training. */
  factor: number;
  /** Positions of the first training. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
}

/** Low frequencies are divided, high ones stay (Llama 3.1). */
export interface Llama3RopeScaling {
  ropeType: "llama3";
  /** Divisor of the lowest frequencies. */
  factor: number;
  /** Wavelengths above originalMaxPositionEmbeddings / this are divided whole. */
  lowFreqFactor: number;
  /** Wavelengths below originalMaxPositionEmbeddings / this stay. */
  highFreqFactor: number;
  /** Positions of the first training. */
  originalMaxPositionEmbeddings: number;
}

/** YaRN (Peng et al. 2023). */
export interface YarnRopeScaling {
  ropeType: "yarn";
  /** How many times the context is longer than that of the first training. */
  factor: number;
  /** Positions of the first training. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
  /** Factor of cosine and sine. Default: from mscale, or 0.1 · ln(factor) + 1. */
  attentionFactor?: number | undefined;
  /** Turns within the first context from which on a dimension is not stretched. Default: 32. */
  betaFast?: number | undefined;
  /** Turns up to which one is stretched whole. Default: 1. */
  betaSlow?: number | undefined;
  /** With mscaleAllDim: attentionFactor as DeepSeek has it. Default: not used. */
  mscale?: number | undefined;
  /** See mscale. Default: not used. */
  mscaleAllDim?: number | undefined;
  /** Whether the bounds of the ramp are whole dimensions. Default: true. */
  truncate?: boolean | undefined;
}

/** Each frequency is divided by its own factor, of one set for short texts and another for long ones (Phi-3; Ding et al. 2024). */
export interface LongRopeScaling {
  ropeType: "longrope";
  /** The divisors, half of the rotated dimensions, of texts within originalMaxPositionEmbeddings. */
  shortFactor: number[];
  /** Factors for longer texts. */
  longFactor: number[];
  /** How many times the context is longer than that of the first training. Default: by originalMaxPositionEmbeddings. */
  factor?: number | undefined;
  /** Positions of the first training. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
  /** Factor of cosine and sine. Default: √(1 + ln factor / ln originalMaxPositionEmbeddings). */
  attentionFactor?: number | undefined;
}

/** GGUF's `rope_freqs.weight`. */
export interface FactorsRopeScaling {
  ropeType: "factors";
  /** Inverse frequency i is divided by the i-th of them. */
  factors: number[];
}

/** How a model's rotary frequencies are stretched beyond the context it was first trained with; each kind's formula: transformers, modeling_rope_utils.py. */
export type RopeScaling =
  | LinearRopeScaling
  | DynamicRopeScaling
  | Llama3RopeScaling
  | YarnRopeScaling
  | LongRopeScaling
  | FactorsRopeScaling;

/**
 * A model's configuration, config.json's names in camelCase. Defaults are those of `createModel`, of Llama where they are a family's own; what
 * a config.json leaves out is what transformers has for it.
 */
export interface ModelConfig {
  /** The family: llama, mistral, qwen2, … as `model_type` says it, or one that registerFamily has added. */
  modelType: string;
  /** Token ids there are, rows of the embedding. Default: the tokenizer's. */
  vocabSize: number;
  /** Width of the residual stream. */
  hiddenSize: number;
  /** Width of a feed-forward block. Default: 8/3 · hiddenSize, up to the next 64; 4 · hiddenSize of gpt2, gpt_neox, starcoder2, phi, bert and gemma; half of that where it is the width of an expert (mixtral, olmoe, granitemoe, gpt_oss). */
  intermediateSize: number;
  /** Transformer blocks. */
  numHiddenLayers: number;
  /** Query heads of a layer. Default: as many as are 64 wide, or nearest to it by an even width that divides hiddenSize. */
  numAttentionHeads: number;
  /** Heads of keys and values, each shared by numAttentionHeads / this many query heads. Default: numAttentionHeads. */
  numKeyValueHeads: number;
  /** Width of one head; not always hiddenSize / numAttentionHeads. Default: that. */
  headDim: number;
  /** Positions of a sequence at most: the context, in tokens (an encoder's longest text). Default 2048. */
  maxPositionEmbeddings: number;
  /** Added to the mean square under RMSNorm's root. Default 1e-6. */
  rmsNormEps: number;
  /** The same under LayerNorm's, of gpt2, gpt_neox, starcoder2, phi, cohere, cohere2 and encoders. Default 1e-5. */
  layerNormEpsilon: number;
  /** θ, the base of the rotary wavelengths. Default 10000. */
  ropeTheta: number;
  /** How rotary frequencies are stretched; null: not at all. Default null. */
  ropeScaling: RopeScaling | null;
  /** Positions that a query of a "sliding_attention" layer sees, itself included; null: no layer slides. Default null. */
  slidingWindow: number | null;
  /** Which layers see all that came before, one entry a layer. Default: all of them; with a slidingWindow by the family's rule. */
  layerTypes: ("full_attention" | "sliding_attention")[];
  /** Whether the head's weights are the embedding's. Default false. */
  tieWordEmbeddings: boolean;
  /** Biases on q, k, v and o. (qwen2 always has them on q, k and v, gpt_neox and phi by default on q, k, v and o, starcoder2 on all matrices; of glm, glm4 and seed_oss they are on q, k and v.) Default false. */
  attentionBias: boolean;
  /** Biases on the feed-forward blocks' matrices. Default false. */
  mlpBias: boolean;
  /** The feed-forward blocks' activation. Default "silu". */
  hiddenAct: "silu" | "gelu" | "gelu_pytorch_tanh";
  /** Standard deviation of new weights. Default 0.02. */
  initializerRange: number;
  /** The token that begins a text; null: none. Default: the tokenizer's, else null. */
  bosTokenId: number | null;
  /** Any of them ends a text; may be empty. Default: the tokenizer's, else none. */
  eosTokenIds: number[];
  /** The token that fills sequences up; null: none. Default: the tokenizer's, else null. */
  padTokenId: number | null;
  /** Element type of the saved weights, or null if unknown. Default: null. */
  dtype: "f32" | "f16" | "bf16" | null;

  // Fields of some families only.
  /**
   * Whether attention is bidirectional (gemma3_text as in EmbeddingGemma, gemma, llama, mistral, qwen2, qwen3). Such a model embeds and
   * classifies texts, and cannot generate. Sliding layers then see half a slidingWindow on either side. Default: false.
   */
  useBidirectionalAttention?: boolean | undefined;
  /** The part of each head's dimensions that rotates. Default: all of them; a quarter of gpt_neox's and half of glm's, glm4's and phi's, where that is an even number. */
  partialRotaryFactor?: number | undefined;
  /** θ of the sliding layers where they have their own, without scaling (gemma3, olmo3, modernbert). Default: that of the family. */
  ropeLocalTheta?: number | undefined;
  /** One entry a layer: 1 where positions rotate, 0 where they do not (smollm3). Default: 0 for every fourth. */
  noRopeLayers?: number[] | undefined;
  /** Queries are divided by its square root (gemma2, gemma3). Default: headDim. */
  queryPreAttnScalar?: number | undefined;
  /** Attention's scores are cut softly to ± this, by tanh; null: they are not (gemma2, gemma3). Default: 50 of gemma2, else null. */
  attnLogitSoftcapping?: number | null | undefined;
  /** The same of the logits (gemma2, gemma3). Default: 30 of gemma2, else null. */
  finalLogitSoftcapping?: number | null | undefined;
  /** Factor of the embeddings (granite, granitemoe). Default: 1. */
  embeddingMultiplier?: number | undefined;
  /** Factor of attention scores instead of 1 / √headDim (granite, granitemoe). Default: 1 / headDim. */
  attentionMultiplier?: number | undefined;
  /** Factor of what each block adds to the stream (granite, granitemoe). Default: 1. */
  residualMultiplier?: number | undefined;
  /** Divides the logits (granite, granitemoe). Default: 1. */
  logitsScaling?: number | undefined;
  /** Routed experts of a layer (qwen2_moe, qwen3_moe, mixtral, olmoe, granitemoe, gpt_oss). Default: 8. */
  numExperts?: number | undefined;
  /** How many of them a token is given to. Default: 2. */
  numExpertsPerTok?: number | undefined;
  /** Width of an expert (qwen2_moe, qwen3_moe); that of others is intermediateSize. Default: half of a block's. */
  moeIntermediateSize?: number | undefined;
  /** Width of the expert that every token goes through (qwen2_moe). Default: moeIntermediateSize's. */
  sharedExpertIntermediateSize?: number | undefined;
  /** Whether the weights of a token's experts add up to one (qwen2_moe, qwen3_moe, olmoe). Default: false. */
  normTopkProb?: boolean | undefined;
  /** Every n-th layer has experts, except those in mlpOnlyLayers (qwen2_moe, qwen3_moe). Default: 1. */
  decoderSparseStep?: number | undefined;
  /** Numbers of layers without experts, from 0 (qwen2_moe, qwen3_moe). Default: none. */
  mlpOnlyLayers?: number[] | undefined;
  /** Where the gated unit is cut (gpt_oss). Default: 7. */
  swigluLimit?: number | undefined;
  /** Whether attention and the feed-forward block are parallel (gpt_neox). Default: true. */
  useParallelResidual?: boolean | undefined;
  /** Factor of the logits (cohere, cohere2). Default: 1/16. */
  logitScale?: number | undefined;
  /** Whether each head of q and k has a separate norm (cohere, in Command R+). Default: false. */
  useQkNorm?: boolean | undefined;
  /** Kinds of segments that tokens may be of (BERT's kin but distilbert); texts are of the first. Default: 2, of RoBERTa's kin 1. */
  typeVocabSize?: number | undefined;
  /** Width of the tables of embeddings, where a layer then makes them as wide as the rest (electra). Default: hiddenSize. */
  embeddingSize?: number | undefined;
  /** Custom values of a registered family, stored in config.json in snake_case. Default: the registered ones. */
  own?: Record<string, OwnValue> | undefined;
  /** transformers' class names, kept for writing back. Default: the family's. */
  architectures?: string[] | undefined;
  /** A classification head instead of the language-modeling head. Default: none. */
  classifier?: ClassifierConfig | undefined;
  /** How the hidden states of a text are made one vector; a model that was not trained to embed has none. Default: none. */
  embedding?: EmbeddingConfig | undefined;
  /** A value head with one number per token, for PPO's critic (TRL's `v_head`). Default: false. */
  valueHead?: boolean | undefined;
}

type Needed = "modelType" | "hiddenSize" | "numHiddenLayers";

/** The configuration for createModel. Missing sizes follow from the others. */
export interface ModelConfigInput
  extends Pick<ModelConfig, Needed>,
    Optional<Omit<ModelConfig, Needed | "classifier" | "embedding">> {
  /** A classification head instead of the language-modeling head. Default: none. */
  classifier?: ClassifierConfigInput | undefined;
  /** How the hidden states of a text are made one vector. Default: none, which embeds as `{ pooling: "mean", normalize: true }` does. */
  embedding?: { [Name in keyof EmbeddingConfig]?: EmbeddingConfig[Name] | undefined } | undefined;
}
