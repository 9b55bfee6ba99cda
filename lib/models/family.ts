import type { ModelConfig } from "../formats/config/config.ts";
import type { FamilyFacts, OwnValues } from "../formats/config/family-format.ts";
import { isQuantized, type Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";

/** A weight that a family has: its shape, and how a new model draws it. */
export interface WeightSpec {
  shape: readonly number[];
  /** normal: N(0, initializerRange²); residual: that over √(2·layers) (GPT-2, Radford et al. 2019). */
  init: "normal" | "residual" | "ones" | "zeros";
  /** Whether a checkpoint may lack it (a bias). */
  optional?: boolean | undefined;
  /** The matrix is (in, out), as GPT-2's are; a quantised one is (out, in) all the same: blocks run along the inputs. */
  transposed?: boolean | undefined;
}

/** The shape that a weight of this type has. */
export function shapeOf(spec: WeightSpec, dtype: string): readonly number[] {
  return spec.transposed && isQuantized(dtype) ? [...spec.shape].reverse() : spec.shape;
}

/** Where logits come from: hidden · weightᵀ + bias. */
export interface Head {
  /** Name of the (vocabulary, width) matrix: the embedding's where they are tied. */
  weight: string;
  /** Name of the (vocabulary) bias vector. Default: no bias. */
  bias?: string | undefined;
  softcap?: number | undefined;
  scale?: number | undefined;
}

/** Widens the type of a custom value's default: `false` becomes boolean, and so on. */
export type WidenedValue<V> = V extends null
  ? number | null
  : V extends boolean
    ? boolean
    : V extends number
      ? number
      : V extends string
        ? string
        : readonly number[];

/** The configuration that a family is given: its own values in `own`, every one of them there. */
export type OwnConfig<Own extends OwnValues = OwnValues> = Omit<ModelConfig, "own"> & {
  readonly own: { readonly [Name in keyof Own]: WidenedValue<Own[Name]> };
};

/**
 * A model family: the facts that its files follow, its weights, and its forward pass in functions of `heddle/graph`. The package has its
 * families in lib/models/families. A program adds one by `registerFamily`.
 * @experimental
 */
export interface FamilyDefinition<Own extends OwnValues = OwnValues> extends FamilyFacts {
  /** `model_type` of config.json. */
  modelType: string;
  own?: Own | undefined;
  /** Weights by Hugging Face name, in the order of a checkpoint. A linear layer's matrix is (outputs, inputs). */
  weights(config: OwnConfig<Own>): Map<string, WeightSpec>;
  /** Token ids to hidden states after the last norm, (rows, hiddenSize). Attention is `context.attend`, which knows of the KV cache. */
  forward(context: ForwardContext, config: OwnConfig<Own>): Value;
  /** Where logits come from. Default: `lm_head.weight`, or where tied `model.embed_tokens.weight`. */
  head?: ((config: OwnConfig<Own>) => Head) | undefined;
  /** Tables that `context.constant` gives, (n) f32 each. Default: what `rotateHeads` needs. */
  constants?: ((config: OwnConfig<Own>) => Map<string, Float32Array>) | undefined;
  encoder?: EncoderHeads | undefined;
}

/** A family's functions, with defaults. */
export interface Family {
  /** The `architectures` entry that transformers expects. */
  readonly architecture: string;
  /** Weights by Hugging Face name, in the order of a checkpoint. */
  weights(config: ModelConfig): Map<string, WeightSpec>;
  /** Constants of the configuration that programs read: RoPE frequencies. */
  constants(config: ModelConfig): Map<string, Float32Array>;
  /** Token ids to final hidden states, (rows, width). */
  forward(context: ForwardContext, config: ModelConfig): Value;
  /** Where logits come from: which of its weights, and what is done to the products. */
  head(config: ModelConfig): Head;
  /** Set for bidirectional families, which encode whole texts and do not generate. */
  readonly encoder?: EncoderHeads | undefined;
}

/** Whether a model attends both ways, by its family or its configuration: it makes hidden states of whole texts, and generates nothing. */
export function encodesWholeTexts({ family, config }: { family: Family; config: ModelConfig }): boolean {
  return family.encoder !== undefined || config.useBidirectionalAttention === true;
}

/** The layers between an encoder's hidden states and its classifier. */
export interface EncoderHeads {
  /** Whether its programs depend on how long the longest text is: `context.longest`. */
  readonly byDistance?: boolean | undefined;
  /** Weights for a configuration with a classifier. */
  classifierWeights(config: ModelConfig): Map<string, WeightSpec>;
  /** @param x (rows, width), hidden states or what was pooled of them @returns (rows, width), what the classifier reads */
  classifierInput(context: Pick<ForwardContext, "linear" | "weight">, config: ModelConfig, x: Value): Value;
}
