import { type Activation, add, embedding, glu, recomputable, scale, split, type Value } from "../graph/index.ts";
import { attentionBlock } from "./attention-block.ts";
import type { ForwardContext } from "./context.ts";
import { type DecoderNames, decoderNames } from "./decoder-names.ts";
import { type ExpertsShape, routedExperts } from "./experts.ts";
import { type NormKind, norm as normOf } from "./norm.ts";
import type { Rotary } from "./rotary.ts";

/** Sizes and flags of the decoder, which all generating families except gpt2 and olmo share. @experimental */
export interface DecoderShape {
  /** Number of layers. */
  layers: number;
  /** Number of query heads. */
  heads: number;
  /** Number of key and value heads. */
  keyHeads: number;
  /** Width of a head. */
  headDim: number;
  /** Epsilon of the norms. */
  eps: number;
  /**
   * Where the norms of a block are. `before`: on its input (Llama). `around`: on its input and its output (Gemma 2 and 3). `after`: on its
   * output (OLMo 2). `parallel` needs a norm on the input.
   */
  norms?: "before" | "around" | "after" | undefined;
  /** Uses LayerNorm instead of RMSNorm, also for q and k: with biases (GPT-NeoX, StarCoder 2) or without (Cohere). */
  layerNorm?: "biased" | "plain" | undefined;
  /**
   * Parallel blocks: attention and the feed-forward block both read the layer's input and are added together. Each has its own norm
   * (GPT-NeoX), or they share one (Cohere).
   */
  parallel?: "two norms" | "one norm" | undefined;
  /** 1 if the weights of norms are stored as offsets from one (Gemma). */
  normOffset?: number | undefined;
  /**
   * The norm of q and k. `head`: each head before RoPE (Qwen 3, Gemma 3). `head after rope`: each head after RoPE
   * (HunYuan). `width`: all heads together before RoPE (OLMo 2). `layerNorm` selects the kind of these norms.
   * `each head`: LayerNorm of each head before RoPE, without a bias and with weights per head (Command R+).
   */
  queryNorm?: "head" | "head after rope" | "each head" | "width" | undefined;
  /** Factor of the embeddings (Gemma: √width; Granite). */
  embeddingScale?: number | undefined;
  /** Factor of a block's output before it is added to the residual stream (Granite). */
  residualScale?: number | undefined;
  /** Factor of q·k (Gemma 2 and 3, Granite). Default 1/√headDim. */
  attentionScale?: number | undefined;
  /** Soft cap of the attention scores by tanh (Gemma 2). */
  attentionSoftcap?: number | undefined;
  /** Function of the feed-forward block's gate. Default: SiLU. */
  activation?: Activation | undefined;
  /**
   * Fused projections: `true` for q, k, v and for gate, up (Phi-3); `gate_up` for gate, up only (GLM 4); `qkv by head` for q, k, v of
   * each head (GPT-NeoX).
   */
  fused?: boolean | "gate_up" | "qkv by head" | undefined;
  /** Whether RoPE pairs adjacent dimensions of a head instead of one dimension of each half (GLM 4, Cohere). */
  interleaved?: boolean | undefined;
  /** Whether attention has sinks (gpt_oss). */
  sinks?: boolean | undefined;
  /** Returns the routed experts of a layer, or undefined if the layer has a dense feed-forward block. */
  experts?: ((layer: number) => ExpertsShape | undefined) | undefined;
  /** Replaces the gated feed-forward block. `prefix` is the block's name, and x and the result are (rows, width). */
  feedForward?: ((x: Value, prefix: string, layer: number) => Value) | undefined;
  /** Whether attention is causal. Default true. */
  causal?: boolean | undefined;
  /** Names of weights that differ from Llama's. */
  names?: { [Name in keyof DecoderNames]?: DecoderNames[Name] | undefined } | undefined;
  /** Returns the sliding window of a layer, or undefined for none. */
  window: (layer: number) => number | undefined;
  /** Returns the RoPE of a layer, or undefined for none. */
  rotary: (layer: number) => Rotary | undefined;
}

/** The input of a block (`y`), and the residual stream before the block's norm (`h`). */
interface Entered {
  y: Value;
  h: Value;
}

/**
 * Computes the final hidden states of token ids.
 * @returns (rows, width), after the last norm, or only the rows that `context.wanted` selects
 */
export function decoder(context: ForwardContext, shape: DecoderShape): Value {
  const { norms = "before", normOffset = 0, layerNorm, parallel, eps } = shape;
  const names = decoderNames(shape);
  const kind: NormKind = { layerNorm, eps, offset: normOffset };
  // The norm adds the residual, so that a block's output is read only once.
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
      const secondNorm = () => norm(carried, `${layer}.${names.beforeMlp}`).y;
      const mlpInput = parallel === "two norms" ? secondNorm() : wanted ? wanted(before.y) : before.y;
      return { x: add(left, leave(feedForward(mlpInput), `${layer}.${names.afterMlp}`)), residual: carried };
    }
    const between = enter(left, `${layer}.${names.beforeMlp}`, carried);
    return { x: leave(feedForward(between.y), `${layer}.${names.afterMlp}`), residual: between.h };
  };
  let stream: { x: Value; residual?: Value } = { x: embedded };
  for (let i = 0; i < shape.layers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
  return norm(stream.x, names.norm, stream.residual).y;
}

/** The gated feed-forward block: act(gate) · up, projected back. @param x (rows, width) */
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
