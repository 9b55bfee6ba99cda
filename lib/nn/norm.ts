import { affine, cast, layerNorm, type Normed, rmsNorm, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

/** How the norms of a decoder compute. */
export interface NormKind {
  /** LayerNorm instead of RMSNorm, with biases or without. */
  layerNorm?: "biased" | "plain" | undefined;
  eps: number;
  /** Constant added to the stored weight. */
  offset: number;
}

/**
 * The norm `name` of the last dimension of x, or of x + residual.
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

/** A stored weight plus `offset`. The sum is f32, because a bf16 weight near 0 has more digits than one near 1. */
export function offsetWeight(weight: Value, offset: number): Value {
  return offset === 0 ? weight : affine(cast(weight, "f32"), 1, offset);
}
