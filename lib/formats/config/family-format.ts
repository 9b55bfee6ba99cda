// What distinguishes a model family in files: transformers' class and defaults, its own keys of config.json, its windows.
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
  /** Whether what gives a text's classifier its labels is a part of `classifier`, beside the layer before it (RoBERTa). */
  outProjection?: true;
}

/** Of a family with routed experts. */
export interface ExpertsFormat {
  /** Which value of its configuration is the width of an expert. */
  width: "moeIntermediateSize" | "intermediateSize";
  /** What a layer calls the block. Default: `mlp`. */
  block?: "block_sparse_moe";
  /** How folders have them: one by one, the matrices by these names (default: gate_proj, up_proj, down_proj), or gate and up in one, in turns (gpt_oss) or one behind the other (Granite). */
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
  /** What changes its computation and is not provided: keys of config.json, and the value that is. */
  mustBe?: Readonly<Record<string, unknown>>;
  /** The same of keys that are written as well: without them, its published code would compute something else. */
  fixed?: Readonly<Record<string, unknown>>;
  windows: WindowRule;
  /** Of a decoder that may attend both ways, as models that embed do: what says so in its files. */
  bothWays?: BothWays;
  /**
   * Of a family with a table of positions, which do not turn: texts begin at its first row, or behind the one that has the padding's id
   * for its number (RoBERTa), or at the third (MPNet, where the padding has 1 always). `max_position_embeddings` of config.json counts all rows, maxPositionEmbeddings those that texts have.
   */
  positions?: "from 0" | "from 2" | "behind padding";
  /** What `layer_types` of config.json calls layers that see all that came before, where others may stand there: that none does has to be said, and so has what is `fixed` (Granite 4). */
  layerKind?: string;
  /** A layer's matrix of gate and up in one, which its GGUF files have apart. */
  gateUp?: string;
  /** The key of config.json that names the activation. Default: `hidden_act`. */
  activationKey?: string;
  /** Of a decoder whose norms are LayerNorm: layerNormEpsilon is theirs, and nothing reads rmsNormEps. */
  layerNorm?: true;
  /** Of a decoder whose feed-forward blocks have GELU without a gate, and biases whatever mlpBias says. */
  ungated?: true;
  /** Whether each head of queries has keys of its own, all of them hidden_size wide together. */
  wholeHeads?: true;
  /** A key of config.json that says the longest text where it is more than `max_position_embeddings`. */
  longestKey?: string;
  /** What the language model's head is called where it is not the embedding. Default: `lm_head`. */
  head?: string;
  /** Whether layers that slide turn by θ alone, whatever scaling the others have (OLMo 3). */
  windowsUnscaled?: true;
  /** Whether dynamic scaling with an `alpha` makes θ, for all lengths, that times a power of alpha (HunYuan). */
  ropeAlpha?: true;
  /** The prefix of the trunk's weights in checkpoints with a head, and a weight that tells those without. Default: `model.`. */
  trunk?: { prefix: string; bare: string };
  /** Of an encoder. */
  encoder?: EncoderFormat;
  experts?: ExpertsFormat;
  /** Of a registered family: what its configuration has that ModelConfig lacks, with the values that it has where nothing says otherwise. */
  own?: OwnValues;
  /** Of a registered family: names of tensors in transformers and in GGUF, without `.weight` and `.bias`; `{layer}` stands for a number. */
  ggufNames?: readonly (readonly [huggingFace: string, gguf: string])[];
}

/** A value of a family's own in its configuration. */
export type OwnValue = boolean | number | string | readonly number[];
/** A family's own values of a configuration, by name. */
export type OwnValues = Readonly<Record<string, OwnValue>>;
