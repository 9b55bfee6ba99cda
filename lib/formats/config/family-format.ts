// Facts about a model family for reading and writing its files: transformers' class and defaults, config.json keys, and GGUF names.
import type { ModelConfig } from "./config-types.ts";
import type { WindowRule } from "./windows.ts";

/** A field of configurations that a family's keys and defaults may set. @experimental */
export type ConfigField = Exclude<keyof ModelConfig, "modelType" | "custom">;
/** Values of configuration fields. @experimental */
export type ConfigValues = { [Name in ConfigField]?: ModelConfig[Name] | undefined };
type Keys = Readonly<Record<string, ConfigField>>;

/** A custom configuration value of a family. null is a number that is not set. @experimental */
export type CustomValue = boolean | number | string | readonly number[] | null;
/** A family's custom configuration values, by name. @experimental */
export type CustomValues = Readonly<Record<string, CustomValue>>;

/** How a decoder's files declare bidirectional attention, which some embedding models have. @experimental */
export interface BidirectionalFormat {
  /** The config.json key. */
  key: "is_causal" | "use_bidirectional_attention";
  /**
   * A separate `general.architecture` of GGUF files, which only bidirectional models have. Default: the family's architecture, with
   * `attention.causal` set to false.
   */
  gguf?: string | undefined;
  /** Whether bidirectional layers may have sliding windows. Default: false. */
  windows?: boolean | undefined;
}

/** How files store routed experts. @experimental */
export interface ExpertsFormat {
  /** The configuration field with the width of an expert. */
  width: "moeIntermediateSize" | "intermediateSize";
  /** Name of the block in a layer. Default: `mlp`. */
  block?: "block_sparse_moe" | undefined;
  /** Names of the separate matrices of experts in folders. Default: gate_proj, up_proj and down_proj. */
  names?: Readonly<Record<"gate" | "up" | "down", string>> | undefined;
  /**
   * How folders fuse gate and up into one matrix: interleaved (gpt_oss) or concatenated (Granite). Default: they are
   * separate.
   */
  fused?: "turns" | "halves" | undefined;
  /** Whether there is a shared expert for every token, sharedExpertIntermediateSize wide. Default: false. */
  shared?: boolean | undefined;
  /** Whether llama.cpp normalizes the weights of a token's experts. It does not read normTopkProb. */
  normalizedInGguf: boolean;
}

/** Sizes that every GGUF file states, whatever its architecture. @experimental */
export interface GgufSizes {
  /** Width of the hidden states. */
  hiddenSize: number;
  /** Number of layers. */
  numHiddenLayers: number;
  /** Number of query heads of a layer. */
  numAttentionHeads: number;
  /** Width of a head. */
  headDim: number;
}

/** Describes a family's GGUF files, as llama.cpp reads and writes them. @experimental */
export interface GgufFormat {
  /** `general.architecture`. */
  architecture: string;
  /**
   * Identifies the family's files if another family has the same architecture: by sliding windows, by experts, by a missing token-type
   * table, or by the family's name under `heddle.model_type`. Default: no other family has the architecture.
   */
  sharedWhen?: "windows" | "experts" | "no segments" | "named" | undefined;
  /**
   * Maps transformers' tensor names to GGUF names, both without `.weight` and `.bias`. `{layer}` is the layer's number. All other
   * tensors use Llama's names.
   */
  names?: Readonly<Record<string, string>> | undefined;
  /** Whether `names` is complete, so that no tensor has Llama's name. Default: false. */
  complete?: boolean | undefined;
  /**
   * Difference of the tensors' layout from transformers'. `rope`: rows of q and k that rotate together are neighbors. `qkv`: a fused
   * projection has all of q first, instead of q, k and v per head. `norm`: one is added to norm weights. `transpose`: matrices are
   * (outputs, inputs). Default: no difference. With `rope`, a custom forward pass must pass the projection's name to `rotateHeads`.
   */
  layout?: "rope" | "qkv" | "norm" | "transpose" | undefined;
  /**
   * Maps architecture-specific keys of numbers and flags to fields, such as `{ residual_scale: "residualMultiplier" }`.
   * `custom.NAME` is the custom value NAME.
   */
  keys?: Readonly<Record<string, ConfigField | `custom.${string}`>> | undefined;
  /**
   * Values that llama.cpp assumes for missing keys. A file must have the keys in `keys` that have no value here, except
   * those of custom values.
   */
  defaults?: ((sizes: GgufSizes) => ConfigValues) | undefined;
  /** Returns values that follow from the presence of tensors, by their GGUF names. They override keys. Default: none. */
  byTensors?: ((has: (name: string) => boolean) => ConfigValues) | undefined;
  /**
   * How the family's files describe YaRN. `truncate` is the value of YaRN's `truncate`, which has no GGUF key. With
   * `wholeAttnFactor`, the key `attn_factor` is the attention factor itself. Otherwise the attention factor is
   * `attn_factor` times YaRN's default. Default: neither.
   */
  yarn?: { truncate?: boolean | undefined; wholeAttnFactor?: boolean | undefined } | undefined;
  /**
   * llama.cpp's head for text classifiers: its pooling, and the names of its tensors with biases. Default: no such
   * head.
   */
  classifier?: { pooling: "first" | "mean"; biases: readonly string[] } | undefined;
  /**
   * Limits of llama.cpp for the family's files. `convertModel` warns about models beyond them. Default: no sliding windows, no
   * RoPE tables.
   */
  llamaCpp?: LlamaCppLimits | undefined;
}

/** Restrictions of the models that llama.cpp can run. @experimental */
export interface LlamaCppLimits {
  /** Whether llama.cpp computes sliding windows. It may depend on the number of layers. Default: false. */
  windows?: boolean | ((layers: number) => boolean) | undefined;
  /** Whether attention must have biases (true) or must not have them (false). Default: llama.cpp supports both. */
  attentionBias?: boolean | undefined;
  /** Whether feed-forward blocks must have biases (true) or must not have them (false). Default: llama.cpp supports both. */
  mlpBias?: boolean | undefined;
  /** Whether the head must be tied to the embedding (true) or must be separate (false). Default: llama.cpp supports both. */
  tiedHead?: boolean | undefined;
  /** Whether the total width of all heads must be hidden_size. Default: false. */
  headsOfWidth?: boolean | undefined;
  /** RoPE scalings that llama.cpp reads as tables of divisors. Default: none. */
  ropeTables?: readonly ("llama3" | "longrope" | "factors")[] | undefined;
  /** The activation that llama.cpp always computes. Default: the family's. */
  hiddenAct?: ModelConfig["hiddenAct"] | undefined;
  /** Returns another reason why llama.cpp cannot open a model's file, or undefined if it can. */
  unopened?: ((config: ModelConfig) => string | undefined) | undefined;
  /** Describes other differences between llama.cpp's computation and the model's. */
  differences?: ((config: ModelConfig) => string[]) | undefined;
}

/** Facts about a model family for reading and writing its files. lib/formats uses them instead of comparing family names. @experimental */
export interface FamilyFacts {
  /** Name of transformers' class, such as `StableLmForCausalLM`, for `architectures` in config.json. */
  architecture: string;
  /** Defaults for values that neither config.json nor the caller sets. Values without a field in ModelConfig are in `custom`. */
  defaults?: ConfigValues | undefined;
  /**
   * Defaults for config.json only. `partialRotaryFactor` also applies to createModel, where it is doubled until the number
   * of rotated dimensions is even.
   */
  fileDefaults?: ConfigValues | undefined;
  /** Defaults of createModel only: values that are derived from sizes. */
  derive?: ((sizes: { hiddenSize: number; headDim: number }) => ConfigValues) | undefined;
  /** Maps the family's config.json keys to other field names, such as `{ layer_norm_eps: "layerNormEpsilon" }`. */
  keys?: Keys | undefined;
  /** Alternative keys that some versions of transformers write. They are read if the key in `keys` is missing. */
  otherKeys?: Keys | undefined;
  /** Returns the family's part of config.json. Llama's keys are then neither read nor written, only `keys` and common ones. */
  toJson?: ((config: ModelConfig) => Record<string, unknown>) | undefined;
  /** config.json keys that change the computation, each with the only supported value. */
  mustBe?: Readonly<Record<string, unknown>> | undefined;
  /** Keys with a required value that are also written, because the family's published code needs them. */
  fixed?: Readonly<Record<string, unknown>> | undefined;
  /** Checks a configuration. @returns the problem, if any */
  check?: ((config: ModelConfig) => string | undefined) | undefined;
  /**
   * Custom values without a field in ModelConfig, in camelCase, with their defaults. For example, `{
   * useParallelResidual: false }` is `use_parallel_residual` in config.json and `custom: { useParallelResidual: true }` in
   * createModel. The family's functions read it from `config.custom`. null is the default of a number that may be unset.
   */
  custom?: CustomValues | undefined;
  /**
   * Rule for which layers have a sliding window. The forward pass must pass each layer's window to `attend`. Default: no
   * layers, and `sliding_window` is not read.
   */
  windows?: WindowRule | undefined;
  /** Whether the RoPE of sliding layers is unscaled even if that of other layers is scaled (OLMo 3). Default: false. */
  windowsUnscaled?: boolean | undefined;
  /** Every n-th layer has no RoPE, unless `noRopeLayers` is given (SmolLM 3). Default: all layers have RoPE. */
  noRopeEvery?: number | undefined;
  /**
   * Whether dynamic scaling with `alpha` multiplies θ by a power of alpha, at all lengths (HunYuan). Default: false.
   */
  ropeAlpha?: boolean | undefined;
  /** Whether `original_max_position_embeddings` outside `rope_scaling` takes precedence over the key inside (Phi-3). Default: false. */
  originalContextBeside?: boolean | undefined;
  /** How files declare bidirectional attention, for families of decoders that support it. Default: not supported. */
  bidirectional?: BidirectionalFormat | undefined;
  /**
   * The first row of a learned position table that texts use: row 0, the row after the padding id (RoBERTa), or row 2
   * (MPNet, whose padding id is always 1). `max_position_embeddings` of config.json counts all rows, and
   * maxPositionEmbeddings only those for texts. Default: no table.
   */
  positions?: "from 0" | "from 2" | "behind padding" | undefined;
  /**
   * Name of full-attention layers in `layer_types` of config.json, for families whose list may have other kinds. With a
   * name, the list is always written (Granite 4).
   */
  layerKind?: string | undefined;
  /** Name of a layer's matrix with gate and up concatenated, if the family's GGUF files store two matrices instead. */
  gateUp?: string | undefined;
  /** The key of config.json that names the activation. Default: `hidden_act`. */
  activationKey?: string | undefined;
  /**
   * Whether a decoder has LayerNorm instead of RMSNorm, and so layerNormEpsilon instead of rmsNormEps. Default: false.
   */
  layerNorm?: boolean | undefined;
  /** Whether all feed-forward blocks have GELU and biases, and no gate. Default: false. */
  ungated?: boolean | undefined;
  /** Whether the family has no grouped-query attention, and the heads' total width is hidden_size. Default: false. */
  wholeHeads?: boolean | undefined;
  /**
   * Names of the norms of q and k in folders that store a weight per head. For example, `q_layernorm.norms` means that
   * head 7 has `…self_attn.q_layernorm.norms.7.weight`. heddle's models have one stack, `q_norm.weight` (heads,
   * headDim). Default: folders have that stack too.
   */
  headNorms?: Readonly<Record<"q_norm" | "k_norm", string>> | undefined;
  /** The config.json key with the maximum text length, if that exceeds `max_position_embeddings`. */
  longestKey?: string | undefined;
  /** Name of an untied language-modeling head. Default: `lm_head`. */
  headName?: string | undefined;
  /** Prefix of a classifier's weights, by task. Default: `score`, for encoders `classifier`. */
  classifierNames?: { sequence?: string | undefined; token?: string | undefined } | undefined;
  /**
   * Checkpoints without a head omit `prefix` from names. The weight `bare` identifies them. Default: `model.`, as for
   * Llama.
   */
  trunk?: { prefix: string; bare: string } | undefined;
  /** Matches weights that checkpoints may have but the model does not use, such as pretraining heads. */
  unread?: ((classifier?: "sequence" | "token") => RegExp) | undefined;
  /** Set for encoders, which read whole texts at once and cannot generate. */
  encoder?: object | undefined;
  /** How files store routed experts. Default: the family has none. */
  experts?: ExpertsFormat | undefined;
  /** The multimodal model whose language model this is: its `model_type`, and defaults for keys that its `text_config` may omit. */
  partOf?: { modelType: string; defaults: Readonly<Record<string, unknown>> } | undefined;
  /** The family's GGUF files, for `convertModel` and for loading quantized files. Default: GGUF is not supported. */
  gguf?: GgufFormat | undefined;
}

/** A family's facts with all defaults filled in. */
export interface FamilyFormat extends FamilyFacts {
  defaults: ConfigValues & Pick<ModelConfig, "rmsNormEps" | "hiddenAct" | "maxPositionEmbeddings" | "ropeTheta">;
  windows: WindowRule;
  /** Whether the family is built in, rather than registered by a program. */
  builtIn: boolean;
}
