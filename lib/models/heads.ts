import { HeddleError } from "../core/errors.ts";
import type { ClassifierConfig, ModelConfig } from "../formats/config/config.ts";
import { classifierPrefix, ownHead, VALUE_HEAD } from "../formats/config/heads.ts";
import { EMBEDDING_LAYERS } from "../formats/sentence-transformers/names.ts";
import type { Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import { embeddingLayerWeights } from "./embedding-layers.ts";
import type { WeightSpec } from "./family.ts";
import { familyOf } from "./registry.ts";

/**
 * Returns every weight of a model: the family's, and those of the heads in its configuration. Classifiers and models
 * that do not generate do not need the language-modeling head, so it is optional for them. A tied head is the embedding
 * and always exists.
 */
export function modelWeights(config: ModelConfig): Map<string, WeightSpec> {
  const family = familyOf(config.modelType);
  const out = new Map(family.weights(config));
  const { classifier, valueHead, useBidirectionalAttention: bidirectional } = config;
  if (classifier || bidirectional || isBare(config))
    for (const name of languageHead(config)) out.set(name, { ...out.get(name)!, optional: true });
  if (classifier) {
    const prefix = classifierPrefix(config);
    const labels = classifier.labels.length;
    for (const [name, spec] of family.encoder?.classifierWeights(config) ?? []) out.set(name, spec);
    out.set(`${prefix}.weight`, { shape: [labels, config.hiddenSize], init: "normal" });
    if (classifier.task === "token" || family.encoder) out.set(`${prefix}.bias`, { shape: [labels], init: "zeros" });
  }
  if (valueHead) {
    out.set(`${VALUE_HEAD}.weight`, { shape: [1, config.hiddenSize], init: "normal" });
    out.set(`${VALUE_HEAD}.bias`, { shape: [1], init: "zeros" });
  }
  for (const [name, spec] of embeddingLayerWeights(config)) out.set(name, spec);
  return out;
}

/** Returns the names of the language-modeling head's weights, without a tied embedding. */
export function languageHead(config: ModelConfig): string[] {
  const family = familyOf(config.modelType);
  const { weight, bias } = family.head(config);
  const own = weight.endsWith(ownHead(config)) ? weight : undefined;
  const trunk = family.weights(config);
  return [own, bias].filter((name) => name !== undefined).filter((name) => trunk.has(name));
}

/** Returns the names of the weights that the heads in the configuration and the layers after pooling add to the family's. */
export function headNames(config: ModelConfig): string[] {
  const trunk = familyOf(config.modelType).weights(config);
  return [...modelWeights(config).keys()].filter((name) => !trunk.has(name));
}

/** Returns the names of the classification head's weights, without a value head and layers after pooling. */
export function classifierNames(config: ModelConfig): string[] {
  return headNames(config).filter((name) => !name.startsWith(EMBEDDING_LAYERS) && !name.startsWith(`${VALUE_HEAD}.`));
}

/** Returns the names of the weights that hidden states depend on: all except the heads. */
export function trunkNames(config: ModelConfig): string[] {
  const heads = languageHead(config);
  return [...familyOf(config.modelType).weights(config).keys()].filter((name) => !heads.includes(name));
}

/** Whether the architecture is a trunk without a head, such as `LlamaModel`. */
function isBare({ architectures }: ModelConfig): boolean {
  return architectures?.some((name) => /Model$/.test(name) && !/LMHeadModel$/.test(name)) ?? false;
}

/** Returns the classifier of a model. @throws HeddleError UNSUPPORTED if it has none */
export function classifierOf(config: ModelConfig, task?: ClassifierConfig["task"]): ClassifierConfig {
  const { classifier, modelType } = config;
  const wanted = task === undefined ? "a classification head" : `a ${task} classification head`;
  if (!classifier)
    throw new HeddleError(
      "UNSUPPORTED",
      `model: expected ${wanted}, got a ${modelType} without one (train a head first)`,
    );
  if (task !== undefined && classifier.task !== task)
    throw new HeddleError("UNSUPPORTED", `model: expected ${wanted}, got a ${classifier.task} classification head`);
  return classifier;
}

/** Computes logits of the labels. @param x (rows, width), hidden states or pooled ones @returns (rows, labels) */
export function classifierLogits(
  context: Pick<ForwardContext, "linear" | "weight">,
  config: ModelConfig,
  x: Value,
): Value {
  classifierOf(config);
  const { encoder } = familyOf(config.modelType);
  const read = encoder ? encoder.classifierInput(context, config, x) : x;
  return context.linear(read, classifierPrefix(config));
}

/** Computes a value for each row. @param x (rows, width) @returns (rows, 1) */
export function valueHeadOutput(context: Pick<ForwardContext, "linear">, config: ModelConfig, x: Value): Value {
  if (!config.valueHead)
    throw new HeddleError("UNSUPPORTED", `model: expected a value head, got a ${config.modelType} without one`);
  return context.linear(x, VALUE_HEAD);
}
