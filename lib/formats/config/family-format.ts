// The facts of a family that its files follow: transformers' class and defaults, its keys of config.json, its names in GGUF.
import type { ModelConfig } from "./config-types.ts";
import type { WindowRule } from "./windows.ts";

/** A field of configurations that a family's keys and defaults may set. */
export type ConfigField = Exclude<keyof ModelConfig, "modelType" | "own">;
/** Values of such fields. */
export type ConfigValues = { [Name in ConfigField]?: ModelConfig[Name] | undefined };
type Keys = Readonly<Record<string, ConfigField>>;

/** A custom value of a family in its configuration. null is a number that is not set. */
export type OwnValue = boolean | number | string | readonly number[] | null;
/** A family's own values of a configuration, by name. */
export type OwnValues = Readonly<Record<string, OwnValue>>;

/** How files of a decoder say that it attends in both directions, as embedding models do. */
export interface BidirectionalFormat {
  /** The key of config.json. */
  key: "is_causal" | "use_bidirectional_attention";
  /** `general.architecture` of GGUF files of such models alone. Default: that of all, with `attention.causal`. */
  gguf?: string | undefined;
  /** Whether its layers may slide in both directions. Default: false. */
  windows?: boolean | undefined;
}

/** How files store routed experts. */
export interface ExpertsFormat {
  /** Which value of its configuration is the width of an expert. */
  width: "moeIntermediateSize" | "intermediateSize";
  /** Name of the block in a layer. Default: `mlp`. */
  block?: "block_sparse_moe" | undefined;
  /** Names of the separate matrices of experts in folders. Default: gate_proj, up_proj and down_proj. */
  names?: Readonly<Record<"gate" | "up" | "down", string>> | undefined;
  /** Whether folders have gate and up as one, interleaved (gpt_oss) or concatenated (Granite). Default: neither. */
  fused?: "turns" | "halves" | undefined;
  /** Whether one more expert is every token's, as wide as sharedExpertIntermediateSize. Default: false. */
  shared?: boolean | undefined;
  /** Whether llama.cpp's shares of a token's experts add up to one, whatever normTopkProb says. */
  normalisedInGguf: boolean;
}

/** Sizes that a GGUF file states under the keys of all architectures. */
export interface GgufSizes {
  hiddenSize: number;
  numHiddenLayers: number;
  numAttentionHeads: number;
  headDim: number;
}

/** A family's GGUF files, as llama.cpp reads and writes them. */
export interface GgufFormat {
  /** `general.architecture`. */
  architecture: string;
  /**
   * Set for a family that shares its architecture with another one. Its files are those with sliding windows, with experts, without a
   * table of segments, or only those with its name under `heddle.model_type`. Default: the architecture's name is the family's alone.
   */
  sharedWhen?: "windows" | "experts" | "no segments" | "named" | undefined;
  /**
   * Maps transformers' tensor names to GGUF names, both without `.weight` and `.bias`. `{layer}` is the layer's number. All other
   * tensors use Llama's names.
   */
  names?: Readonly<Record<string, string>> | undefined;
  /** Whether `names` has all tensors, so that none has Llama's name. Default: false. */
  complete?: boolean | undefined;
  /**
   * How tensors differ from transformers'. `rope`: rows of q and k that rotate together are neighbours. `qkv`: a fused projection has all
   * of q first, not each head's q, k and v. `norm`: norms have one added. `transpose`: matrices are (outputs, inputs). Default: they are equal.
   * With `rope`, a custom forward pass names the projection in `rotateHeads`.
   */
  layout?: "rope" | "qkv" | "norm" | "transpose" | undefined;
  /**
   * Numbers and flags under the architecture's own keys, such as `{ residual_scale: "residualMultiplier" }`, or `own.` and the name of a
   * custom value.
   */
  keys?: Readonly<Record<string, ConfigField | `own.${string}`>> | undefined;
  /** Values that llama.cpp assumes where a file lacks the key, or has no key for. A file needs the `keys` that are not among them. */
  defaults?: ((sizes: GgufSizes) => ConfigValues) | undefined;
  /** Settings of YaRN that its files do not repeat. Default: none. */
  yarn?: { truncate: boolean } | undefined;
  /** The head of a text classifier: how llama.cpp pools for it, and its tensors with biases. Default: it has none. */
  classifier?: { pooling: "first" | "mean"; biases: readonly string[] } | undefined;
  /** Limits of llama.cpp with such files. `convertModel` warns of models beyond them. Default: none but windows and rotary tables. */
  llamaCpp?: LlamaCppLimits | undefined;
}

/** The models of an architecture that llama.cpp reads. */
export interface LlamaCppLimits {
  /** Whether it computes sliding windows, given the number of layers. Default: it does not. */
  windows?: boolean | ((layers: number) => boolean) | undefined;
  /** Biases of attention that its files must or must not have. Default: either. */
  attentionBias?: boolean | undefined;
  /** The same of feed-forward blocks. */
  mlpBias?: boolean | undefined;
  /** Whether the head must or must not be the embedding. Default: either. */
  tiedHead?: boolean | undefined;
  /** Whether all heads together must be hidden_size wide. Default: false. */
  headsOfWidth?: boolean | undefined;
  /** Scalings that it reads from tables of rotary divisors. Default: none. */
  ropeTables?: readonly ("llama3" | "longrope" | "factors")[] | undefined;
  /** The activation that it computes. Default: the family's. */
  hiddenAct?: ModelConfig["hiddenAct"] | undefined;
  /** Names what else keeps it from opening a model's file. */
  unopened?: ((config: ModelConfig) => string | undefined) | undefined;
  /** Describes other differences of a model. */
  differences?: ((config: ModelConfig) => string[]) | undefined;
}

/** The facts of a model family that its files follow. `formats` reads them, and knows no family by its name. */
export interface FamilyFacts {
  /** The class that transformers has for it, such as `StableLmForCausalLM`: `architectures` of config.json. */
  architecture: string;
  /** Defaults for values that neither config.json nor the caller gives. */
  defaults?: ConfigValues | undefined;
  /** The same for config.json alone. */
  fileDefaults?: ConfigValues | undefined;
  /** The same for callers alone: values that follow from sizes. */
  derive?: ((sizes: { hiddenSize: number; headDim: number }) => ConfigValues) | undefined;
  /** Keys of its config.json that have another name here, such as `{ layer_norm_eps: "layerNormEpsilon" }`. */
  keys?: Keys | undefined;
  /** Other names that some versions of transformers write for them, read where the first are missing. */
  otherKeys?: Keys | undefined;
  /** Writes config.json without the keys of Llama. All of its keys then are those of `keys`. */
  toJson?: ((config: ModelConfig) => Record<string, unknown>) | undefined;
  /** Keys of config.json that change the computation, with the only supported value. */
  mustBe?: Readonly<Record<string, unknown>> | undefined;
  /** Keys that are also written, because the family's published code needs them. */
  fixed?: Readonly<Record<string, unknown>> | undefined;
  /** Checks a configuration. @returns what is wrong, if anything */
  check?: ((config: ModelConfig) => string | undefined) | undefined;
  /**
   * Values that no field of ModelConfig says, in camelCase, with their defaults: `{ useParallelResidual: false }` is
   * `use_parallel_residual` in config.json, `own: { useParallelResidual: true }` in createModel and `config.own` in a family's functions.
   * null is the default of a number that may be unset.
   */
  own?: OwnValues | undefined;
  /** Which layers slide. The forward pass then gives `attend` each layer's window. Default: none, and `sliding_window` is not read. */
  windows?: WindowRule | undefined;
  /** Whether layers that slide turn by θ alone, whatever scaling the others have (OLMo 3). Default: false. */
  windowsUnscaled?: boolean | undefined;
  /** n where the n-th, 2n-th, … layer has no rotary positions unless `noRopeLayers` says otherwise (SmolLM 3). Default: all have them. */
  noRopeEvery?: number | undefined;
  /** Whether dynamic scaling with an `alpha` makes θ, for all lengths, that times a power of alpha (HunYuan). Default: false. */
  ropeAlpha?: boolean | undefined;
  /** Whether `original_max_position_embeddings` outside `rope_scaling` takes precedence over the key inside (Phi-3). Default: false. */
  originalContextBeside?: boolean | undefined;
  /** The marker in files of decoders that may be bidirectional, for embedding models. Default: none may be. */
  bidirectional?: BidirectionalFormat | undefined;
  /**
   * The first row of a learned position table that texts use: row 0, the row after the padding id (RoBERTa), or row 2 (MPNet, whose padding id
   * is always 1). `max_position_embeddings` of config.json counts all rows. maxPositionEmbeddings counts those for texts. Default: no table.
   */
  positions?: "from 0" | "from 2" | "behind padding" | undefined;
  /** Name of full-attention layers in `layer_types` of config.json, for families whose list may have other kinds. It must be written (Granite 4). */
  layerKind?: string | undefined;
  /** A layer's matrix of gate and up in one, which its GGUF files have apart. */
  gateUp?: string | undefined;
  /** The key of config.json that names the activation. Default: `hidden_act`. */
  activationKey?: string | undefined;
  /** Whether a decoder has LayerNorm, with layerNormEpsilon instead of rmsNormEps. Default: false. */
  layerNorm?: boolean | undefined;
  /** Whether feed-forward blocks have GELU without a gate, and always biases. Default: false. */
  ungated?: boolean | undefined;
  /** Whether every query head has its own key head, with a total width of hidden_size. Default: false. */
  wholeHeads?: boolean | undefined;
  /** A key of config.json that says the longest text where it is more than `max_position_embeddings`. */
  longestKey?: string | undefined;
  /** Name of an untied language-modeling head. Default: `lm_head`. */
  headName?: string | undefined;
  /** Where a classifier's weights are, by its task. Default: `score`, or `classifier` of encoders. */
  classifierNames?: { sequence?: string | undefined; token?: string | undefined } | undefined;
  /** Where checkpoints without a head leave out a prefix: the prefix, and a weight that tells them. Default: `model.`, as Llama's do. */
  trunk?: { prefix: string; bare: string } | undefined;
  /** Matches weights that checkpoints may hold and the model does without, such as heads of its pretraining. */
  unread?: ((classifier?: "sequence" | "token") => RegExp) | undefined;
  /** Set for encoders, which read whole texts and do not generate. */
  encoder?: object | undefined;
  /** How files store routed experts. Default: the family has none. */
  experts?: ExpertsFormat | undefined;
  /** The multimodal model whose language model this is: its `model_type`, and what its `text_config` may omit. */
  partOf?: { modelType: string; defaults: Readonly<Record<string, unknown>> } | undefined;
  /** For `convertModel` to GGUF, and so for quantized files. Default: the family has no such files. */
  gguf?: GgufFormat | undefined;
}

/** A family's facts with defaults. */
export interface FamilyFormat extends FamilyFacts {
  defaults: ConfigValues & Pick<ModelConfig, "rmsNormEps" | "hiddenAct" | "maxPositionEmbeddings" | "ropeTheta">;
  windows: WindowRule;
  /** Whether the family comes with the package. */
  builtIn: boolean;
}
