import type { ModelConfig } from "../formats/config/config.ts";
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

/**
 * A model family: everything that distinguishes it is here. A program adds one by `registerFamily`; within the package it is a file
 * like lib/models/families/llama.ts and a row in lib/models/registry.ts.
 */
export interface Family {
  /** The `model_type` values of config.json that it serves. */
  readonly modelTypes: readonly string[];
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
  readonly encoder?: EncoderHeads;
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
