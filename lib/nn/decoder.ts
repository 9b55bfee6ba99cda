import {
  type Activation,
  add,
  embedding,
  glu,
  recomputable,
  rmsNorm,
  scale,
  split,
  type Value,
} from "../graph/index.ts";
import { attentionBlock } from "./attention-block.ts";
import type { ForwardContext } from "./context.ts";
import { type ExpertsShape, routedExperts } from "./experts.ts";
import type { Rotary } from "./rotary.ts";

/** Sizes and flags of the decoder that all families but gpt2 share. */
export interface DecoderShape {
  layers: number;
  heads: number;
  keyHeads: number;
  headDim: number;
  eps: number;
  /**
   * Where a block's norms stand: before it (Llama), before it and on its output (Gemma 2 and 3), or on its output alone
   * (OLMo 2).
   */
  norms?: "before" | "around" | "after";
  /** 1 where a norm's weight is stored as an offset from one (Gemma). */
  normOffset?: number;
  /** RMSNorm of q and k: of each head (Qwen 3, Gemma 3), or over their whole width (OLMo 2). */
  queryNorm?: "head" | "width";
  /** Multiplies embeddings (Gemma: √width; Granite). */
  embeddingScale?: number;
  /** Multiplies a block's output before it joins the residual stream (Granite). */
  residualScale?: number;
  /** Multiplies q·k; 1/√headDim where not given (Gemma 2 and 3, Granite). */
  attentionScale?: number;
  /** tanh soft cap of attention's scores (Gemma 2). */
  attentionSoftcap?: number;
  activation?: Activation;
  /** q, k, v in one projection, gate and up in another (Phi-3). */
  fused?: boolean;
  /** Whether attention has sinks (gpt_oss). */
  sinks?: boolean;
  /** The routed experts of a layer, undefined where it has one block for all rows. */
  experts?: (layer: number) => ExpertsShape | undefined;
  /** In the place of the gated block: x (rows, width), the block's prefix → (rows, width). */
  feedForward?: (x: Value, prefix: string, layer: number) => Value;
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
  const { norms = "before", normOffset = 0, eps } = shape;
  // The residual stream joins inside the norms, so that a block's output is read once.
  const norm = (x: Value, name: string, residual?: Value) =>
    rmsNorm(x, context.weight(`model.${name}.weight`), {
      eps,
      offset: normOffset,
      ...(residual && { residual }),
    });
  const enter = (x: Value, name: string, residual: Value | undefined): Entered => {
    if (norms !== "after") return norm(x, name, residual);
    const h = residual ? add(x, residual) : x;
    return { y: h, h };
  };
  const leave = (x: Value, name: string): Value => {
    const out = norms === "before" ? x : norm(x, name).y;
    return shape.residualScale === undefined || shape.residualScale === 1 ? out : scale(out, shape.residualScale);
  };
  const beforeMlp = norms === "before" ? "post_attention_layernorm" : "pre_feedforward_layernorm";

  const table = context.weight("model.embed_tokens.weight");
  const embedded = context.embedded(
    embedding(table, context.ids, { scale: shape.embeddingScale ?? 1, dtype: context.dtype }),
  );
  const block = (i: number, x: Value, residual: Value | undefined) => {
    const layer = `layers.${i}`;
    const wanted = i === shape.layers - 1 ? context.wanted : undefined;
    const before = enter(x, `${layer}.input_layernorm`, residual);
    const attended = attentionBlock(context, i, before.y, {
      heads: shape.heads,
      keyHeads: shape.keyHeads,
      headDim: shape.headDim,
      prefix: `model.${layer}.self_attn`,
      fused: shape.fused,
      norm: shape.queryNorm && { over: shape.queryNorm, eps, offset: normOffset },
      rotary: shape.rotary(i),
      window: shape.window(i),
      scale: shape.attentionScale,
      softcap: shape.attentionSoftcap,
      sinks: shape.sinks,
      wanted,
    });
    const carried = wanted ? wanted(before.h) : before.h;
    const between = enter(leave(attended, `${layer}.post_attention_layernorm`), `${layer}.${beforeMlp}`, carried);
    const experts = shape.experts?.(i);
    const mlp = `model.${layer}.${experts?.block ?? "mlp"}`;
    const feedForward = () => shape.feedForward?.(between.y, mlp, i) ?? gatedMlp(context, between.y, mlp, shape);
    const said = experts ? routedExperts(context, between.y, mlp, experts) : feedForward();
    return { x: leave(said, `${layer}.post_feedforward_layernorm`), residual: between.h };
  };
  let stream: { x: Value; residual?: Value } = { x: embedded };
  for (let i = 0; i < shape.layers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
  return norm(stream.x, "norm", stream.residual).y;
}

/** act(gate) · up, projected back. @param x (rows, width) */
function gatedMlp(context: ForwardContext, x: Value, prefix: string, { fused, activation }: DecoderShape): Value {
  const project = (name: string) => context.linear(x, `${prefix}.${name}_proj`);
  const halves = (y: Value) => split(y, [y.last / 2, y.last / 2]);
  const [gate, up] = fused ? halves(project("gate_up")) : [project("gate"), project("up")];
  return context.linear(glu(gate!, up!, activation), `${prefix}.down_proj`);
}
