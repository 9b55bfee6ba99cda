// The types of a model's configuration, written out because types inferred from schemas lose their comments.
// `config.ts` and `rope-scaling.ts` have the schemas. test/formats/config/config-types.test.ts checks that types, schemas
// and documented defaults agree.
import type { CustomValue } from "./family-format.ts";

/** How texts become vectors. */
export interface EmbeddingConfig {
  /** How a text's hidden states are pooled. The results of several distinct modes are concatenated in order. Default: "mean". */
  pooling: PoolingMode | PoolingMode[];
  /** Whether vectors are normalized to length 1, so that their dot product is the cosine. Default: true. */
  normalize: boolean;
  /** Layers that are applied to the pooled vector, in order. Default: none. */
  layers?: EmbeddingLayer[] | undefined;
  /**
   * Whether a prompt's tokens are pooled with those of the text. The modes "first" and "last" ignore this setting.
   * Default: true.
   */
  includePrompt?: boolean | undefined;
  /** Prompts by name, such as "query: ". The model was trained with them in front of texts. Default: none. */
  prompts?: Record<string, string> | undefined;
  /** Name of the prompt that is used if a call does not name a prompt. Default: none. */
  defaultPromptName?: string | undefined;
  /** Similarity function for comparing vectors. It does not change the vectors. Default: unset, which means cosine. */
  similarity?: "cosine" | "dot" | "euclidean" | "manhattan" | undefined;
  /**
   * Number of leading dimensions to keep (Kusupati et al. 2022, "Matryoshka"). With `normalize`, the shortened vector
   * is normalized again. Default: all.
   */
  truncateDim?: number | undefined;
  /** Maximum number of tokens of a text, if that is below the context length. Default: the context length. */
  maxSeqLength?: number | undefined;
  /** Whether texts are lowercased first. Default: false. */
  lowercase?: boolean | undefined;
}

/**
 * A pooling mode for hidden states. "first" takes the first token ("cls" elsewhere), "max" the maximum per dimension. "mean_sqrt_len" is
 * the sum divided by the square root of the number of tokens. "weighted_mean" weights the n-th token by n (Muennighoff 2022, "SGPT").
 */
export type PoolingMode = "first" | "max" | "mean" | "mean_sqrt_len" | "weighted_mean" | "last";

/** A layer after pooling: sentence-transformers' Dense or LayerNorm. */
export type EmbeddingLayer =
  | {
      type: "dense";
      /** Number of output features. */
      outFeatures: number;
      bias: boolean;
      activation: "identity" | "tanh" | "relu" | "sigmoid" | "gelu" | "silu";
    }
  | { type: "layer_norm" };

/** A classification head on the trunk. */
export interface ClassifierConfig {
  /** Whether the head labels a whole text, or each of its tokens. The token head has a bias, as in transformers. */
  task: "sequence" | "token";
  /** Label names by index. With one label, the head returns a number (regression, reward). */
  labels: string[];
  /** Whether a text has one label, several, or a numeric value. Default "single_label_classification". */
  problemType: "single_label_classification" | "multi_label_classification" | "regression";
  /** How a text's hidden states are pooled before the head. Default "last". */
  pooling: "last" | "mean" | "first";
  /**
   * Divisor of the logits before they become probabilities. It is fitted on held-out data (Guo et al. 2017). Default:
   * 1.
   */
  temperature?: number | undefined;
}

/** Makes all members of a type optional, or undefined. */
export type Optional<T> = { [Name in keyof T]?: T[Name] | undefined };

/** A `ClassifierConfig` with optional fields. */
export interface ClassifierConfigInput
  extends Pick<ClassifierConfig, "task" | "labels">,
    Optional<Omit<ClassifierConfig, "task" | "labels">> {}

/** Positions are divided by a factor (position interpolation). */
export interface LinearRopeScaling {
  /** The kind of scaling. */
  ropeType: "linear";
  /** Ratio of the extended context length to the original one. */
  factor: number;
}

/** θ grows with the sequence length beyond the original context (dynamic NTK). */
export interface DynamicRopeScaling {
  /** The kind of scaling. */
  ropeType: "dynamic";
  /** Ratio of the extended context length to the original one. */
  factor: number;
  /** Original context length. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
}

/** Low frequencies are divided, high ones stay (Llama 3.1). */
export interface Llama3RopeScaling {
  /** The kind of scaling. */
  ropeType: "llama3";
  /** Divisor of the lowest frequencies. */
  factor: number;
  /** Frequencies with a wavelength above originalMaxPositionEmbeddings / lowFreqFactor are divided by `factor`. */
  lowFreqFactor: number;
  /** Frequencies with a wavelength below originalMaxPositionEmbeddings / highFreqFactor stay unchanged. */
  highFreqFactor: number;
  /** Original context length. */
  originalMaxPositionEmbeddings: number;
}

/** YaRN (Peng et al. 2023). */
export interface YarnRopeScaling {
  /** The kind of scaling. */
  ropeType: "yarn";
  /** Ratio of the extended context length to the original one. */
  factor: number;
  /** Original context length. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
  /** Factor of cosine and sine. Default: from mscale, or 0.1 · ln(factor) + 1. */
  attentionFactor?: number | undefined;
  /** Dimensions with at least this many rotations within the original context are not scaled. Default: 32. */
  betaFast?: number | undefined;
  /**
   * Dimensions with at most this many rotations within the original context are scaled by the whole factor. Default: 1.
   */
  betaSlow?: number | undefined;
  /** Together with mscaleAllDim, determines attentionFactor as in DeepSeek's models. Default: unused. */
  mscale?: number | undefined;
  /** See mscale. Default: not used. */
  mscaleAllDim?: number | undefined;
  /** Whether the bounds of the ramp are rounded to whole dimensions. Default: true. */
  truncate?: boolean | undefined;
}

/**
 * Divides each frequency by a separate factor. Short and long texts have separate sets of factors (Phi-3; Ding et al.
 * 2024).
 */
export interface LongRopeScaling {
  /** The kind of scaling. */
  ropeType: "longrope";
  /** Divisors for texts within originalMaxPositionEmbeddings: half as many as there are rotated dimensions. */
  shortFactor: number[];
  /** Divisors for longer texts. */
  longFactor: number[];
  /** Ratio of the extended context length to the original one, if originalMaxPositionEmbeddings is missing. Default: 1. */
  factor?: number | undefined;
  /** Original context length. Default: maxPositionEmbeddings. */
  originalMaxPositionEmbeddings?: number | undefined;
  /** Factor of cosine and sine. Default: √(1 + ln factor / ln originalMaxPositionEmbeddings). */
  attentionFactor?: number | undefined;
}

/** Divisors from GGUF's `rope_freqs.weight`. */
export interface FactorsRopeScaling {
  /** The kind of scaling. */
  ropeType: "factors";
  /** factors[i] divides inverse frequency i. */
  factors: number[];
}

/**
 * How a model's RoPE frequencies are scaled beyond its original context length. For the formulas see transformers'
 * modeling_rope_utils.py.
 */
export type RopeScaling =
  | LinearRopeScaling
  | DynamicRopeScaling
  | Llama3RopeScaling
  | YarnRopeScaling
  | LongRopeScaling
  | FactorsRopeScaling;

/**
 * A model's configuration, with config.json's names in camelCase. The listed defaults are those of `createModel`. Where
 * families differ, they are Llama's. Values that a config.json omits get transformers' defaults.
 */
export interface ModelConfig {
  /** The family: llama, mistral, qwen2, … as in `model_type`, or one that was added by registerFamily. */
  modelType: string;
  /** Vocabulary size: the number of rows of the embedding. Default: the tokenizer's. */
  vocabSize: number;
  /** Width of the residual stream. */
  hiddenSize: number;
  /**
   * Width of a feed-forward block. Default: 8/3 · hiddenSize, rounded up to a multiple of 64. For gemma, and for families
   * without a gate such as gpt2 and bert: 4 · hiddenSize. In families where it is the width of one expert, such as mixtral, half of that.
   */
  intermediateSize: number;
  /** Number of Transformer blocks. */
  numHiddenLayers: number;
  /**
   * Number of query heads. Default: hiddenSize divided by the head width, which is the even divisor of hiddenSize
   * nearest to 64.
   */
  numAttentionHeads: number;
  /**
   * Number of key and value heads. Each is shared by numAttentionHeads / numKeyValueHeads query heads. Default:
   * numAttentionHeads.
   */
  numKeyValueHeads: number;
  /** Width of one head. Default: hiddenSize / numAttentionHeads. */
  headDim: number;
  /** Context length: the maximum number of tokens of a sequence, or of a text for encoders. Default 2048. */
  maxPositionEmbeddings: number;
  /** The epsilon of RMSNorm, which is added to the mean square before the square root. Default 1e-6. */
  rmsNormEps: number;
  /** The epsilon of LayerNorm, for encoders and for decoders that have it, such as gpt2. Default 1e-5. */
  layerNormEpsilon: number;
  /** θ, the base of the RoPE wavelengths. Default 10000. */
  ropeTheta: number;
  /** How RoPE frequencies are scaled for longer contexts, or null for no scaling. Default null. */
  ropeScaling: RopeScaling | null;
  /**
   * Number of positions that a query of a "sliding_attention" layer sees, including its own. null means that all layers
   * have full attention. Default null.
   */
  slidingWindow: number | null;
  /**
   * The kind of attention of each layer. Default: full attention everywhere; with a slidingWindow, the family's rule.
   */
  layerTypes: ("full_attention" | "sliding_attention")[];
  /** Whether the head shares its weights with the embedding. Default false. */
  tieWordEmbeddings: boolean;
  /**
   * Whether the q, k, v and o projections have biases. qwen2 always has them on q, k and v. In some families the setting applies to q, k
   * and v only, as in glm, or to all matrices, as in starcoder2. Default: false, or true in some families such as glm and phi.
   */
  attentionBias: boolean;
  /** Whether the feed-forward blocks' matrices have biases. Default false. */
  mlpBias: boolean;
  /** The feed-forward blocks' activation. Default "silu". */
  hiddenAct: "silu" | "gelu" | "gelu_pytorch_tanh";
  /** Standard deviation of new weights. Default 0.02. */
  initializerRange: number;
  /** Id of the beginning-of-text token, or null for none. Default: the tokenizer's, else null. */
  bosTokenId: number | null;
  /** Ids of the end tokens. Each of them ends a text. May be empty. Default: the tokenizer's, else none. */
  eosTokenIds: number[];
  /** Id of the padding token, or null for none. Default: the tokenizer's, else null. */
  padTokenId: number | null;
  /** Element type of the saved weights, or null if unknown. Default: null. */
  dtype: "f32" | "f16" | "bf16" | null;

  // Fields of some families only.
  /**
   * Whether attention is bidirectional. Supported by some decoders, such as gemma3_text (EmbeddingGemma) and llama. Such a
   * model embeds and classifies texts, and cannot generate. Sliding layers then see half a slidingWindow on either side.
   * Default: false.
   */
  useBidirectionalAttention?: boolean | undefined;
  /**
   * Share of each head's dimensions that RoPE rotates. Default: 1, or less in some families: 1/4 in gpt_neox and 1/2 in
   * glm, if that is an even number of dimensions.
   */
  partialRotaryFactor?: number | undefined;
  /** θ of the sliding layers, whose frequencies are not scaled (gemma3, olmo3, modernbert). Default: the family's. */
  ropeLocalTheta?: number | undefined;
  /** One entry per layer: 1 for layers with RoPE, 0 for layers without (smollm3). Default: 0 for every fourth layer. */
  noRopeLayers?: number[] | undefined;
  /** Attention scores are divided by the square root of this value (gemma2, gemma3, vaultgemma). Default: headDim. */
  queryPreAttnScalar?: number | undefined;
  /**
   * Soft cap of attention scores: tanh limits them to ± this value. null means no cap (gemma2, gemma3, vaultgemma).
   * Default: 50 for gemma2 and vaultgemma, else null.
   */
  attnLogitSoftcapping?: number | null | undefined;
  /** Soft cap of the logits (gemma2, gemma3, vaultgemma). Default: 30 for gemma2 and vaultgemma, else null. */
  finalLogitSoftcapping?: number | null | undefined;
  /** Factor of the embeddings (granite, granitemoe). Default: 1. */
  embeddingMultiplier?: number | undefined;
  /** Factor of attention scores, instead of 1 / √headDim (granite, granitemoe). Default: 1 / headDim. */
  attentionMultiplier?: number | undefined;
  /** Factor of each block's output before the residual addition (granite, granitemoe). Default: 1. */
  residualMultiplier?: number | undefined;
  /** Divisor of the logits (granite, granitemoe). Default: 1. */
  logitsScaling?: number | undefined;
  /** Number of routed experts per layer, in mixtures of experts. Default: 8. */
  numExperts?: number | undefined;
  /** Number of experts that each token is routed to. Default: 2. */
  numExpertsPerTok?: number | undefined;
  /**
   * Width of an expert (qwen2_moe, qwen3_moe). Other families use intermediateSize. Default: half of a dense block's
   * width.
   */
  moeIntermediateSize?: number | undefined;
  /** Width of the shared expert, which processes every token (qwen2_moe). Default: moeIntermediateSize. */
  sharedExpertIntermediateSize?: number | undefined;
  /**
   * Whether the routing weights of a token's experts are normalized to sum to one (qwen2_moe, qwen3_moe, olmoe).
   * Default: false.
   */
  normTopkProb?: boolean | undefined;
  /** Every n-th layer has experts, except those in mlpOnlyLayers (qwen2_moe, qwen3_moe). Default: 1. */
  decoderSparseStep?: number | undefined;
  /** Indices of layers without experts, from 0 (qwen2_moe, qwen3_moe). Default: none. */
  mlpOnlyLayers?: number[] | undefined;
  /** Limit to which SwiGLU's inputs, gate and up, are clamped (gpt_oss). Default: 7. */
  swigluLimit?: number | undefined;
  /** Whether attention and the feed-forward block are parallel (gpt_neox, stablelm). Default: true, for stablelm false. */
  useParallelResidual?: boolean | undefined;
  /** Factor of the logits (cohere, cohere2). Default: 1/16. */
  logitScale?: number | undefined;
  /**
   * Whether each head of q and k has a norm with separate weights (cohere, in Command R+, and stablelm, in StableLM 2
   * 12B). Default: false.
   */
  useQkNorm?: boolean | undefined;
  /**
   * Number of token types (BERT's families except distilbert and mpnet). heddle uses type 0 for all tokens. Default: 2,
   * for RoBERTa's families 1.
   */
  typeVocabSize?: number | undefined;
  /** Width of the embedding tables, if a projection to hiddenSize follows them (electra). Default: hiddenSize. */
  embeddingSize?: number | undefined;
  /**
   * Custom values of a registered family, stored in config.json in snake_case. Default: the values that the family was
   * registered with.
   * @experimental
   */
  custom?: Record<string, CustomValue> | undefined;
  /** Names of transformers' classes, which are written back when saving. Default: the family's. */
  architectures?: string[] | undefined;
  /** A classification head instead of the language-modeling head. Default: none. */
  classifier?: ClassifierConfig | undefined;
  /** How a text's hidden states become one vector. Models that were not trained to embed have none. Default: none. */
  embedding?: EmbeddingConfig | undefined;
  /** Whether the model has a value head: one number per token, for PPO's critic (TRL's `v_head`). Default: false. */
  valueHead?: boolean | undefined;
}

type Needed = "modelType" | "hiddenSize" | "numHiddenLayers";

/** The configuration for createModel. Missing sizes are derived from the others. */
export interface ModelConfigInput
  extends Pick<ModelConfig, Needed>,
    Optional<Omit<ModelConfig, Needed | "classifier" | "embedding">> {
  /** A classification head instead of the language-modeling head. Default: none. */
  classifier?: ClassifierConfigInput | undefined;
  /**
   * How a text's hidden states become one vector. Default: none, which embeds like `{ pooling: "mean", normalize: true
   * }`.
   */
  embedding?: { [Name in keyof EmbeddingConfig]?: EmbeddingConfig[Name] | undefined } | undefined;
}
