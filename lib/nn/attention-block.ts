import {
  affine,
  broadcast,
  type FloatDType,
  layerNorm,
  linear,
  mul,
  reshape,
  split as splitColumns,
  sum,
  type Value,
} from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";
import type { DecoderNames } from "./decoder-names.ts";
import { type NormKind, norm as normOf, offsetWeight } from "./norm.ts";
import { type Rotary, rotate } from "./rotary.ts";

/** Sizes and flags of a self-attention block. */
interface AttentionBlock {
  heads: number;
  keyHeads: number;
  headDim: number;
  /** Prefix of the projections' names, such as `model.layers.3.self_attn`. */
  prefix: string;
  names: Pick<DecoderNames, "qkv" | "output" | "queryNorm" | "keyNorm">;
  /**
   * Whether q, k and v are one fused projection: `true` for all of q, then k, then v (Phi-3), `qkv by head` for q, k, v of each head
   * (GPT-NeoX). `gate_up` fuses only the feed-forward block.
   */
  fused?: boolean | "gate_up" | "qkv by head" | undefined;
  /** Whether RoPE pairs adjacent dimensions of a head. */
  interleaved?: boolean | undefined;
  /**
   * The norm of q and k. `head` normalizes each head before RoPE (Qwen 3, Gemma 3), and `head after rope` after it
   * (HunYuan). `width` normalizes all heads together before RoPE (OLMo 2). `each head` is LayerNorm without a
   * bias, before RoPE, with weights per head (Command R+).
   */
  norm?: (NormKind & { over: "head" | "head after rope" | "each head" | "width" }) | undefined;
  rotary: Rotary | undefined;
  causal?: boolean | undefined;
  window?: number | undefined;
  /** Factor of q·k. Default 1/√headDim. */
  scale?: number | undefined;
  softcap?: number | undefined;
  /** Whether the layer has attention sinks: the weight `prefix.sinks`, a logit per head that attends to nothing (gpt_oss). */
  sinks?: boolean | undefined;
  /** Selects the rows whose output is read. Default: all rows. */
  wanted?: ((x: Value) => Value) | undefined;
}

/** Self-attention with RoPE. @param x (rows, width) @returns (rows, width), or only the rows that `block.wanted` selects */
export function attentionBlock(context: ForwardContext, layer: number, x: Value, block: AttentionBlock): Value {
  const { heads, keyHeads, headDim, prefix, rotary, causal, window, scale, softcap } = block;
  const rows = x.dim(0);
  const [q, k, v] = projections(context, x, block);
  const rotated = (name: "q" | "k", y: Value, count: number) => {
    const isNormAfterRope = block.norm?.over === "head after rope";
    // A norm after RoPE has weights in the family's order of dimensions, so RoPE must not change this order.
    const keepOrder = block.interleaved === true && isNormAfterRope;
    const adjacent = block.interleaved || context.interleaved(`${prefix}.${name}_proj`);
    const applyRope = (heads: Value) =>
      rotary ? rotate(context, heads, rotary, keepOrder || (adjacent && "input")) : heads;
    const shape = [rows, count, headDim];
    if (isNormAfterRope) return normed(context, block, name, applyRope(reshape(y, shape)));
    if (block.norm?.over === "width") {
      const whole = y.rank === 2 ? y : reshape(y, [rows, count * headDim]);
      return applyRope(reshape(normed(context, block, name, whole), shape));
    }
    return applyRope(normed(context, block, name, reshape(y, shape)));
  };
  const o = context.attend(
    layer,
    {
      q: rotated("q", q, heads),
      k: rotated("k", k, keyHeads),
      v: reshape(v, [rows, keyHeads, headDim]),
      sinks: block.sinks ? context.weight(`${prefix}.sinks`) : undefined,
    },
    { causal, window, scale, softcap },
  );
  const flat = reshape(o, [rows, heads * headDim]);
  return context.linear(block.wanted ? block.wanted(flat) : flat, `${prefix}.${block.names.output}`);
}

/** Returns q, k and v, each (rows, heads · headDim) or (rows, heads, headDim). */
function projections(context: ForwardContext, x: Value, block: AttentionBlock): readonly [Value, Value, Value] {
  const { heads, keyHeads, headDim, prefix, names } = block;
  if (block.fused === "qkv by head") {
    const all = reshape(context.linear(x, `${prefix}.${names.qkv}`), [x.dim(0), heads, 3 * headDim]);
    const [q, k, v] = splitColumns(all, [headDim, headDim, headDim]);
    return [q!, k!, v!];
  }
  if (block.fused === true) {
    const [q, k, v] = splitColumns(context.linear(x, `${prefix}.${names.qkv}`), [
      heads * headDim,
      keyHeads * headDim,
      keyHeads * headDim,
    ]);
    return [q!, k!, v!];
  }
  const project = (name: string) => context.linear(x, `${prefix}.${name}_proj`);
  return [project("q"), project("k"), project("v")];
}

/** Normalizes q or k over the last dimension. */
function normed(context: ForwardContext, { norm, prefix, names }: AttentionBlock, which: "q" | "k", x: Value): Value {
  if (!norm) return x;
  const name = `${prefix}.${which === "q" ? names.queryNorm : names.keyNorm}`;
  if (norm.over !== "each head") return normOf(context, x, name, norm).y;
  return eachNormed(x, offsetWeight(context.weight(`${name}.weight`), norm.offset), norm.eps);
}

/** LayerNorm of each head, with weights per head. @param x (rows, heads, width) @param weight (heads, width) */
function eachNormed(x: Value, weight: Value, eps: number): Value {
  const [rows, heads, width] = [x.dim(0), Number(x.dim(1)), x.last];
  // The graph has no constants, so compute 1 as 0 · sum + 1.
  const one = affine(sum(weight), 0, 1);
  const plain = layerNorm(x, broadcast(one, [width]), { eps }).y;
  // Repeat the weights for each row by an outer product, because no op broadcasts a vector.
  const ones = broadcast(one, [rows, 1], x.dtype as FloatDType);
  const repeated = linear(ones, reshape(weight, [1, heads * width]), undefined, { transposed: true });
  return mul(plain, reshape(repeated, x.shape));
}
