// The file format of a model family: transformers' class and defaults, family-specific keys of config.json, window rules.
import type { ModelConfig } from "./config-types.ts";
import type { WindowRule } from "./windows.ts";

export interface BothWays {
  /** The key of config.json. */
  key: "is_causal" | "use_bidirectional_attention";
  /** `general.architecture` of GGUF files that is of such models alone; undefined: that of all, with `attention.causal`. */
  gguf?: string;
  /** Whether its layers may slide then: what a window means both ways no rule says of the others. */
  windows?: true;
}

export interface EncoderFormat {
  /** Weights that its checkpoints may hold and the model does without: heads of its pretraining, of which a classifier may have kept a part. */
  unread: (classifier?: "sequence" | "token") => RegExp;
  /** Whether the output layer of a text classifier is part of `classifier`, together with the layer before it (RoBERTa). */
  outProjection?: true;
}

/** The format of routed experts. */
export interface ExpertsFormat {
  /** Which value of its configuration is the width of an expert. */
  width: "moeIntermediateSize" | "intermediateSize";
  /** Name of the block in a layer. Default: `mlp`. */
  block?: "block_sparse_moe";
  /** Layout in folders: separate matrices with these names (default: gate_proj, up_proj, down_proj), or gate and up fused, interleaved (gpt_oss) or concatenated (Granite). */
  names?: Readonly<Record<"gate" | "up" | "down", string>>;
  fused?: "turns" | "halves";
  /** Whether one more expert is every token's, as wide as sharedExpertIntermediateSize. */
  shared?: true;
  /** Whether llama.cpp's shares of a token's experts add up to one, whatever normTopkProb says. */
  normalisedInGguf: boolean;
}

export interface FamilyFormat {
  /** The `architectures` entry that transformers expects. */
  architecture: string;
  /** `general.architecture` of its GGUF files; undefined: it has none. */
  gguf?: string;
  /** Values a file or a caller may leave out, as transformers' configuration class sets them. */
  defaults: Partial<ModelConfig> &
    Pick<ModelConfig, "rmsNormEps" | "hiddenAct" | "maxPositionEmbeddings" | "ropeTheta">;
  /** The same for config.json alone: callers get what follows from the other sizes. */
  fileDefaults?: Partial<ModelConfig>;
  /** Its keys of config.json besides those of all decoders. */
  keys?: Readonly<Record<string, keyof ModelConfig>>;
  /** Other names that some versions of transformers write for them, read where the first are missing. */
  otherKeys?: Readonly<Record<string, keyof ModelConfig>>;
  /** Keys of config.json that change the computation, with the only supported value. */
  mustBe?: Readonly<Record<string, unknown>>;
  /** The same of keys that are written as well: without them, its published code would compute something else. */
  fixed?: Readonly<Record<string, unknown>>;
  windows: WindowRule;
  /** The marker in files of decoders that may be bidirectional, for embedding models. */
  bothWays?: BothWays;
  /**
   * The first row of a learned position table that texts use: row 0, the row after the padding id (RoBERTa), or row 2 (MPNet, whose padding id
   * is always 1). `max_position_embeddings` of config.json counts all rows. maxPositionEmbeddings counts those for texts.
   */
  positions?: "from 0" | "from 2" | "behind padding";
  /** Name of full-attention layers in `layer_types` of config.json, for families whose list may have other kinds. It must be written, like the `fixed` keys (Granite 4). */
  layerKind?: string;
  /** A layer's matrix of gate and up in one, which its GGUF files have apart. */
  gateUp?: string;
  /** The key of config.json that names the activation. Default: `hidden_act`. */
  activationKey?: string;
  /** Set for decoders with LayerNorm, which use layerNormEpsilon instead of rmsNormEps. */
  layerNorm?: true;
  /** Set for decoders whose feed-forward blocks have GELU without a gate, and always biases. */
  ungated?: true;
  /** Whether every query head has its own key head, with a total width of hidden_size. */
  wholeHeads?: true;
  /** A key of config.json that says the longest text where it is more than `max_position_embeddings`. */
  longestKey?: string;
  /** Name of an untied language-modeling head. Default: `lm_head`. */
  head?: string;
  /** Whether layers that slide turn by θ alone, whatever scaling the others have (OLMo 3). */
  windowsUnscaled?: true;
  /** Whether dynamic scaling with an `alpha` makes θ, for all lengths, that times a power of alpha (HunYuan). */
  ropeAlpha?: true;
  /** The prefix of the trunk's weights in checkpoints with a head, and a weight that tells those without. Default: `model.`. */
  trunk?: { prefix: string; bare: string };
  /** Set for encoders. */
  encoder?: EncoderFormat;
  experts?: ExpertsFormat;
  /** Custom configuration values of a registered family, with defaults. */
  own?: OwnValues;
  /** Tensor names of a registered family in transformers and in GGUF, without `.weight` and `.bias`. `{layer}` is the layer's number. */
  ggufNames?: readonly (readonly [huggingFace: string, gguf: string])[];
}

/** A value of a family's own in its configuration. */
export type OwnValue = boolean | number | string | readonly number[];
/** A family's own values of a configuration, by name. */
export type OwnValues = Readonly<Record<string, OwnValue>>;
