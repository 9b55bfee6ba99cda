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

export interface AttentionBlock {
  heads: number;
  keyHeads: number;
  headDim: number;
  /** Prefix of the projections' names: `model.layers.3.self_attn`. */
  prefix: string;
  names: Pick<DecoderNames, "qkv" | "output" | "queryNorm" | "keyNorm">;
  /** One projection instead of three: all of q, then k, then v (Phi-3), or each head's q, k, v (GPT-NeoX). */
  fused?: boolean | "gate_up" | "qkv by head" | undefined;
  /** Whether neighbours of a head turn together. */
  interleaved?: boolean | undefined;
  /**
   * The norm of q and k: of each head before (Qwen 3, Gemma 3) or after (HunYuan) the rotation, or of their whole width before it
   * (OLMo 2). `each head` is LayerNorm without a bias, before the rotation, and each head has its own weights (Command R+).
   */
  norm?: (NormKind & { over: "head" | "turned head" | "each head" | "width" }) | undefined;
  rotary: Rotary | undefined;
  causal?: boolean | undefined;
  window?: number | undefined;
  /** Multiplies q·k; 1/√headDim where not given. */
  scale?: number | undefined;
  softcap?: number | undefined;
  /** Whether the layer has the weight `prefix.sinks`, a logit a head that attends nothing (gpt_oss). */
  sinks?: boolean | undefined;
  /** Picks the rows that go on. */
  wanted?: ((x: Value) => Value) | undefined;
}

/** Self-attention with rotary positions. @param x (rows, width) @returns (rows, width), of those that are wanted */
export function attentionBlock(context: ForwardContext, layer: number, x: Value, block: AttentionBlock): Value {
  const { heads, keyHeads, headDim, prefix, rotary, causal, window, scale, softcap } = block;
  const rows = x.dim(0);
  const [q, k, v] = projections(context, x, block);
  const turned = (name: "q" | "k", y: Value, count: number) => {
    const turnedHeads = block.norm?.over === "turned head";
    // A norm after the rotation has its weights in the family's own order of a head's dimensions.
    const kept = block.interleaved === true && turnedHeads;
    const neighbours = block.interleaved || context.interleaved(`${prefix}.${name}_proj`);
    const turn = (heads: Value) => (rotary ? rotate(context, heads, rotary, kept || (neighbours && "input")) : heads);
    const shape = [rows, count, headDim];
    if (turnedHeads) return normed(context, block, name, turn(reshape(y, shape)));
    if (block.norm?.over === "width") {
      const whole = y.rank === 2 ? y : reshape(y, [rows, count * headDim]);
      return turn(reshape(normed(context, block, name, whole), shape));
    }
    return turn(normed(context, block, name, reshape(y, shape)));
  };
  const o = context.attend(
    layer,
    {
      q: turned("q", q, heads),
      k: turned("k", k, keyHeads),
      v: reshape(v, [rows, keyHeads, headDim]),
      sinks: block.sinks ? context.weight(`${prefix}.sinks`) : undefined,
    },
    { causal, window, scale, softcap },
  );
  const flat = reshape(o, [rows, heads * headDim]);
  return context.linear(block.wanted ? block.wanted(flat) : flat, `${prefix}.${block.names.output}`);
}

/** q, k and v, each (rows, heads · headDim), or (rows, heads, headDim) */
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

/** @param x (rows, heads, width) @param weight (heads, width) */
function eachNormed(x: Value, weight: Value, eps: number): Value {
  const [rows, heads, width] = [x.dim(0), Number(x.dim(1)), x.last];
  const one = affine(sum(weight), 0, 1);
  const plain = layerNorm(x, broadcast(one, [width]), { eps }).y;
  // Repeats the weights for each row by an outer product, because no op does that.
  const ones = broadcast(one, [rows, 1], x.dtype as FloatDType);
  const beside = linear(ones, reshape(weight, [1, heads * width]), undefined, { transposed: true });
  return mul(plain, reshape(beside, x.shape));
}
