import type { CallFormatName } from "../answers/call-formats.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import type { CustomValues, FamilyFacts } from "../formats/config/family-format.ts";
import { isQuantized, type Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";

/** A weight of a family: its shape, and how it is initialized. @experimental */
export interface WeightSpec {
  /** Sizes of the dimensions. */
  shape: readonly number[];
  /**
   * "normal" draws from N(0, initializerRange²). "residual" divides that deviation by √(2·layers) (GPT-2, Radford et
   * al. 2019).
   */
  init: "normal" | "residual" | "ones" | "zeros";
  /** Whether a checkpoint may lack the weight, such as a bias. */
  optional?: boolean | undefined;
  /**
   * Whether the matrix is (in, out), as in GPT-2. A quantized matrix is still (out, in), because blocks run along the
   * inputs.
   */
  transposed?: boolean | undefined;
}

/** Returns the shape of a weight when stored as `dtype`. */
export function shapeOf(spec: WeightSpec, dtype: string): readonly number[] {
  return spec.transposed && isQuantized(dtype) ? [...spec.shape].reverse() : spec.shape;
}

/** The head for logits: softcap(scale · (hidden · weightᵀ + bias)). @experimental */
export interface Head {
  /** Name of the (vocabulary, width) matrix. If head and embedding are tied, it is the name of the embedding. */
  weight: string;
  /** Name of the (vocabulary) bias vector. Default: no bias. */
  bias?: string | undefined;
  /** Soft cap of the logits by tanh. Default: none. */
  softcap?: number | undefined;
  /** Factor of the logits, before the soft cap. Default 1. */
  scale?: number | undefined;
}

/** Widens the type of a custom value's default: `false` becomes boolean, and so on. @experimental */
export type WidenedValue<V> = V extends null
  ? number | null
  : V extends boolean
    ? boolean
    : V extends number
      ? number
      : V extends string
        ? string
        : readonly number[];

/** The configuration that a family's functions receive, with all of its custom values in `custom`. @experimental */
export type CustomConfig<Values extends CustomValues = CustomValues> = Omit<ModelConfig, "custom"> & {
  /** The family's own fields of config.json. */
  readonly custom: { readonly [Name in keyof Values]: WidenedValue<Values[Name]> };
};

/**
 * A function of a family's configuration. Its parameter is bivariant, like that of a method. So a `FamilyDefinition` with
 * custom values can be assigned to a `FamilyDefinition` without them.
 */
type OfConfig<Values extends CustomValues, Result> = { of(config: CustomConfig<Values>): Result }["of"];

/**
 * A model family: facts for reading and writing its files, its weights, and its forward pass in functions of
 * `heddle/graph`. Built-in families are in lib/models/families. A program adds one with `registerFamily`.
 * @experimental
 */
export interface FamilyDefinition<Values extends CustomValues = CustomValues> extends FamilyFacts {
  /** `model_type` of config.json. */
  modelType: string;
  /** The family's own fields of config.json, each with its default. */
  custom?: Values | undefined;
  /** Weights by Hugging Face name, in the order of a checkpoint. A linear layer's matrix is (outputs, inputs). */
  weights(config: CustomConfig<Values>): Map<string, WeightSpec>;
  /**
   * Computes hidden states after the last norm, (rows, hiddenSize), from token ids. Attention is `context.attend`,
   * which handles the KV cache.
   */
  forward(context: ForwardContext, config: CustomConfig<Values>): Value;
  /** Returns the head for logits. Default: `lm_head.weight`, or `model.embed_tokens.weight` if tied. */
  head?: OfConfig<Values, Head> | undefined;
  /** Tables for `context.constant`, (n) f32 each. Default: those that `rotateHeads` needs. */
  constants?: OfConfig<Values, Map<string, Float32Array>> | undefined;
  /** How an encoder's heads work. Default: the family is a decoder. */
  encoder?: EncoderHeads | undefined;
  /**
   * The formats in which the family's models write tool calls. Normally the chat template decides: each format is
   * recognized by its markers. The first format of this list applies if a template mentions tools without known markers.
   */
  calls?: readonly CallFormatName[] | undefined;
}

/** A family's functions, with defaults filled in. @experimental */
export interface Family {
  /** The `architectures` entry that transformers expects. */
  readonly architecture: string;
  /** Weights by Hugging Face name, in the order of a checkpoint. */
  weights(config: ModelConfig): Map<string, WeightSpec>;
  /** Returns the constant tables that programs of this configuration read, such as RoPE frequencies. */
  constants(config: ModelConfig): Map<string, Float32Array>;
  /** Computes final hidden states, (rows, width), from token ids. */
  forward(context: ForwardContext, config: ModelConfig): Value;
  /** Returns the head for logits: the names of its weights, its soft cap and its scale. */
  head(config: ModelConfig): Head;
  /** Set for encoders, which are bidirectional, read whole texts at once, and cannot generate. */
  readonly encoder?: EncoderHeads | undefined;
  /** The formats in which the family's models write tool calls. */
  readonly calls: readonly CallFormatName[];
}

/**
 * Whether attention is bidirectional, because of the family or the configuration. Such a model computes hidden states
 * of whole texts, and cannot generate.
 */
export function isEncoder({ family, config }: { family: Family; config: ModelConfig }): boolean {
  return family.encoder !== undefined || config.useBidirectionalAttention === true;
}

/** The layers between an encoder's hidden states and its classifier. @experimental */
export interface EncoderHeads {
  /** Whether the encoder's programs depend on the length of the longest text, `context.longest`. */
  readonly byDistance?: boolean | undefined;
  /** Returns the weights of these layers, for a configuration with a classifier. */
  classifierWeights(config: ModelConfig): Map<string, WeightSpec>;
  /** Computes the classifier's input. @param x (rows, width), hidden states or pooled ones @returns (rows, width) */
  classifierInput(context: Pick<ForwardContext, "linear" | "weight">, config: ModelConfig, x: Value): Value;
}
