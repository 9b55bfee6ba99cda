import { affine, cast, layerNorm, type Normed, rmsNorm, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

/** The kind of a decoder's norms. */
export interface NormKind {
  /** Uses LayerNorm instead of RMSNorm, with biases or without. */
  layerNorm?: "biased" | "plain" | undefined;
  eps: number;
  /** Constant that is added to the stored weight. */
  offset: number;
}

/**
 * Applies the norm `name` over the last dimension of x, or of x + residual.
 * @param x (…, width)
 */
export function norm(context: ForwardContext, x: Value, name: string, kind: NormKind, residual?: Value): Normed {
  const { layerNorm: layer, eps, offset } = kind;
  const weight = context.weight(`${name}.weight`);
  const joined = residual && { residual };
  if (!layer) return rmsNorm(x, weight, { eps, offset, ...joined });
  const bias = layer === "biased" ? context.weight(`${name}.bias`) : undefined;
  return layerNorm(x, offsetWeight(weight, offset), { eps, bias, ...joined });
}

/** Returns a stored weight plus `offset`, in f32, because bf16 is more precise near 0 than near 1. */
export function offsetWeight(weight: Value, offset: number): Value {
  return offset === 0 ? weight : affine(cast(weight, "f32"), 1, offset);
}
