import { reshape, rmsNorm, rope, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";

export interface AttentionBlock {
  heads: number;
  keyHeads: number;
  headDim: number;
  /** Prefix of the projections' names: `model.layers.3.self_attn`. */
  prefix: string;
  /** RMSNorm of each head of q and k before the rotation, with this eps (Qwen 3). */
  headNormEps?: number;
  window?: number | undefined;
  ropeScale?: number | undefined;
}

/** Self-attention with separate q, k, v projections and rotary positions. @param x (rows, width) @returns (rows, width) */
export function attentionBlock(context: ForwardContext, layer: number, x: Value, block: AttentionBlock): Value {
  const { heads, keyHeads, headDim, prefix } = block;
  const rows = x.dim(0);
  const split = (name: string, count: number) => {
    const y = reshape(context.linear(x, `${prefix}.${name}_proj`), [rows, count, headDim]);
    const norm = `${prefix}.${name}_norm.weight`;
    const normed =
      block.headNormEps !== undefined && name !== "v"
        ? rmsNorm(y, context.weight(norm), { eps: block.headNormEps }).y
        : y;
    if (name === "v") return normed;
    return rope(normed, context.positions, context.constant("rope.frequencies"), { scale: block.ropeScale ?? 1 });
  };
  const [q, k, v] = [split("q", heads), split("k", keyHeads), split("v", keyHeads)];
  const o = context.attend(layer, { q, k, v }, { window: block.window });
  return context.linear(reshape(o, [rows, heads * headDim]), `${prefix}.o_proj`);
}
