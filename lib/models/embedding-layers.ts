import type { ModelConfig } from "../formats/config/config.ts";
import { embeddingWidths } from "../formats/sentence-transformers/embedding-schema.ts";
import { EMBEDDING_LAYERS, LAYER_NORM_EPS } from "../formats/sentence-transformers/names.ts";
import { gelu, layerNorm, mul, relu, sigmoid, tanh, type Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import type { WeightSpec } from "./family.ts";

/** Returns the weights of the layers after pooling, in order. */
export function embeddingLayerWeights(config: ModelConfig): Map<string, WeightSpec> {
  const out = new Map<string, WeightSpec>();
  const widths = embeddingWidths(config);
  for (const [i, layer] of (config.embedding?.layers ?? []).entries()) {
    const name = `${EMBEDDING_LAYERS}${i}`;
    const width = widths[i + 1]!;
    const isDense = layer.type === "dense";
    if (isDense) out.set(`${name}.weight`, { shape: [width, widths[i]!], init: "normal" });
    else out.set(`${name}.weight`, { shape: [width], init: "ones" });
    if (!isDense || layer.bias) out.set(`${name}.bias`, { shape: [width], init: "zeros" });
  }
  return out;
}

const ACTIVATIONS = {
  identity: (x: Value) => x,
  tanh,
  relu,
  sigmoid,
  gelu: (x: Value) => gelu(x),
  silu: (x: Value) => mul(x, sigmoid(x)),
} as const;

/** Applies the layers after pooling. @param x (rows, pooled width) f32 @returns (rows, width) f32 */
export function embeddingLayers(
  { linear, weight }: Pick<ForwardContext, "linear" | "weight">,
  { embedding }: ModelConfig,
  x: Value,
): Value {
  return (embedding?.layers ?? []).reduce((value, layer, i) => {
    const name = `${EMBEDDING_LAYERS}${i}`;
    if (layer.type === "dense") return ACTIVATIONS[layer.activation](linear(value, name));
    return layerNorm(value, weight(`${name}.weight`), { eps: LAYER_NORM_EPS, bias: weight(`${name}.bias`) }).y;
  }, x);
}
