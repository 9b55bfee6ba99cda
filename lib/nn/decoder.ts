import { type Activation, add, embedding, glu, recomputable, scale, split, type Value } from "../graph/index.ts";
import { attentionBlock } from "./attention-block.ts";
import type { ForwardContext } from "./context.ts";
import { type DecoderNames, decoderNames } from "./decoder-names.ts";
import { type ExpertsShape, routedExperts } from "./experts.ts";
import { type NormKind, norm as normOf } from "./norm.ts";
import type { Rotary } from "./rotary.ts";

/** Sizes and flags of the decoder that all families that generate share, but for gpt2. @experimental */
export interface DecoderShape {
  layers: number;
  heads: number;
  keyHeads: number;
  headDim: number;
  eps: number;
  /**
   * Where a block's norms are: before it (Llama), before it and on its output (Gemma 2 and 3), or on its output alone (OLMo 2).
   * `parallel` needs one before.
   */
  norms?: "before" | "around" | "after" | undefined;
  /** LayerNorm instead of RMSNorm, also of q and k. It has biases (GPT-NeoX, StarCoder 2) or none (Cohere). */
  layerNorm?: "biased" | "plain" | undefined;
  /**
   * Parallel blocks: attention and the feed-forward block both read the layer's input and are added together. Each has its own norm
   * (GPT-NeoX), or they share one (Cohere).
   */
  parallel?: "two norms" | "one norm" | undefined;
  /** 1 if the weights of norms are stored as offsets from one (Gemma). */
  normOffset?: number | undefined;
  /**
   * The norm of q and k: of each head (Qwen 3, Gemma 3), of each rotated head (HunYuan), or of their whole width (OLMo 2). It is the
   * one that `layerNorm` chooses. `each head` is always LayerNorm without a bias, and each head has its own weights (Command R+).
   */
  queryNorm?: "head" | "turned head" | "each head" | "width" | undefined;
  /** Multiplies embeddings (Gemma: √width; Granite). */
  embeddingScale?: number | undefined;
  /** Multiplies a block's output before it joins the residual stream (Granite). */
  residualScale?: number | undefined;
  /** Multiplies q·k; 1/√headDim where not given (Gemma 2 and 3, Granite). */
  attentionScale?: number | undefined;
  /** tanh soft cap of attention's scores (Gemma 2). */
  attentionSoftcap?: number | undefined;
  activation?: Activation | undefined;
  /** Projections in one: q, k, v and gate, up (Phi-3), gate, up alone (GLM 4), or each head's q, k, v (GPT-NeoX). */
  fused?: boolean | "gate_up" | "qkv by head" | undefined;
  /** Whether RoPE pairs neighbours of a head instead of its halves (GLM 4, Cohere). */
  interleaved?: boolean | undefined;
  /** Whether attention has sinks (gpt_oss). */
  sinks?: boolean | undefined;
  /** The routed experts of a layer, undefined where it has one block for all rows. */
  experts?: ((layer: number) => ExpertsShape | undefined) | undefined;
  /** Replaces the gated block: x (rows, width), the block's prefix → (rows, width). */
  feedForward?: ((x: Value, prefix: string, layer: number) => Value) | undefined;
  /** Whether a row sees those before it alone. Default true. */
  causal?: boolean | undefined;
  /** Weights that Llama calls otherwise. */
  names?: { [Name in keyof DecoderNames]?: DecoderNames[Name] | undefined } | undefined;
  /** The sliding window of a layer, undefined for none. */
  window: (layer: number) => number | undefined;
  /** How a layer's queries and keys turn, undefined where they do not. */
  rotary: (layer: number) => Rotary | undefined;
}

/** A block's input and the residual stream it was made of. */
interface Entered {
  y: Value;
  h: Value;
}

/** Token ids to final hidden states. @returns (rows, width) of those that are wanted, after the last norm */
export function decoder(context: ForwardContext, shape: DecoderShape): Value {
  const { norms = "before", normOffset = 0, layerNorm, parallel, eps } = shape;
  const names = decoderNames(shape);
  const kind: NormKind = { layerNorm, eps, offset: normOffset };
  // The residual stream joins inside the norms, so that a block's output is read once.
  const norm = (x: Value, name: string, residual?: Value) => normOf(context, x, name, kind, residual);
  const enter = (x: Value, name: string, residual: Value | undefined): Entered => {
    if (norms !== "after") return norm(x, name, residual);
    const h = residual ? add(x, residual) : x;
    return { y: h, h };
  };
  const leave = (x: Value, name: string): Value => {
    const out = norms === "before" ? x : norm(x, name).y;
    return shape.residualScale === undefined || shape.residualScale === 1 ? out : scale(out, shape.residualScale);
  };

  const table = context.weight(`${names.embedding}.weight`);
  const embedded = context.embedded(
    embedding(table, context.ids, { scale: shape.embeddingScale ?? 1, dtype: context.dtype }),
  );
  const block = (i: number, x: Value, residual: Value | undefined) => {
    const layer = `${names.layers}.${i}`;
    const wanted = i === shape.layers - 1 ? context.wanted : undefined;
    const before = enter(x, `${layer}.${names.beforeAttention}`, residual);
    const attended = attentionBlock(context, i, before.y, {
      heads: shape.heads,
      keyHeads: shape.keyHeads,
      headDim: shape.headDim,
      prefix: `${layer}.${names.attention}`,
      names,
      fused: shape.fused,
      interleaved: shape.interleaved,
      norm: shape.queryNorm && { over: shape.queryNorm, ...kind },
      rotary: shape.rotary(i),
      causal: shape.causal,
      window: shape.window(i),
      scale: shape.attentionScale,
      softcap: shape.attentionSoftcap,
      sinks: shape.sinks,
      wanted,
    });
    const carried = wanted ? wanted(before.h) : before.h;
    const feedForward = (x: Value) => {
      const experts = shape.experts?.(i);
      const mlp = `${layer}.${experts?.block ?? names.mlp}`;
      if (experts) return routedExperts(context, x, mlp, experts);
      return shape.feedForward?.(x, mlp, i) ?? gatedMlp(context, x, mlp, shape, names);
    };
    const left = leave(attended, `${layer}.${names.afterAttention}`);
    if (parallel) {
      const own = () => norm(carried, `${layer}.${names.beforeMlp}`).y;
      const beside = parallel === "two norms" ? own() : wanted ? wanted(before.y) : before.y;
      return { x: add(left, leave(feedForward(beside), `${layer}.${names.afterMlp}`)), residual: carried };
    }
    const between = enter(left, `${layer}.${names.beforeMlp}`, carried);
    return { x: leave(feedForward(between.y), `${layer}.${names.afterMlp}`), residual: between.h };
  };
  let stream: { x: Value; residual?: Value } = { x: embedded };
  for (let i = 0; i < shape.layers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
  return norm(stream.x, names.norm, stream.residual).y;
}

/** act(gate) · up, projected back. @param x (rows, width) */
function gatedMlp(
  context: ForwardContext,
  x: Value,
  prefix: string,
  { fused, activation }: DecoderShape,
  names: DecoderNames,
): Value {
  const project = (name: string) => context.linear(x, `${prefix}.${name}`);
  const halves = (y: Value) => split(y, [y.last / 2, y.last / 2]);
  const [gate, up] =
    fused === true || fused === "gate_up" ? halves(project(names.gateUp)) : [project("gate_proj"), project("up_proj")];
  return context.linear(glu(gate!, up!, activation), `${prefix}.${names.down}`);
}
