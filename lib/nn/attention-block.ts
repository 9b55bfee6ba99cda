import { reshape, rmsNorm, split as splitColumns, type Value } from "../graph/index.ts";
import type { ForwardContext } from "./context.ts";
import type { DecoderNames } from "./decoder-names.ts";
import { type Rotary, rotate } from "./rotary.ts";

export interface AttentionBlock {
  heads: number;
  keyHeads: number;
  headDim: number;
  /** Prefix of the projections' names: `model.layers.3.self_attn`. */
  prefix: string;
  names: Pick<DecoderNames, "qkv" | "output">;
  /** One projection instead of three: all of q, then k, then v (Phi-3), or each head's q, k, v (GPT-NeoX). */
  fused?: boolean | "gate_up" | "qkv by head" | undefined;
  /** Whether neighbours of a head turn together. */
  interleaved?: boolean | undefined;
  /** RMSNorm of q and k before the rotation: of each head (Qwen 3, Gemma 3), or over their whole width (OLMo 2). */
  norm?: { over: "head" | "width"; eps: number; offset: number } | undefined;
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
    const normed = normedHeads(context, block, name, y, count);
    const interleaved = block.interleaved || context.interleaved(`${prefix}.${name}_proj`);
    return rotary ? rotate(context, normed, rotary, interleaved) : normed;
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

/** (rows, count · headDim) → (rows, count, headDim) */
function normedHeads(context: ForwardContext, block: AttentionBlock, name: "q" | "k", y: Value, count: number): Value {
  const shape = [y.dim(0), count, block.headDim];
  if (!block.norm) return reshape(y, shape);
  const { over, eps, offset } = block.norm;
  const normed = (v: Value) => rmsNorm(v, context.weight(`${block.prefix}.${name}_norm.weight`), { eps, offset }).y;
  return over === "head" ? normed(reshape(y, shape)) : reshape(normed(y), shape);
}
