import { type Activation, embedding, glu, rmsNorm, type Value } from "../graph/index.ts";
import { attentionBlock } from "./attention-block.ts";
import type { ForwardContext } from "./context.ts";

/** Sizes and flags of the pre-norm decoder that llama, mistral, qwen2, qwen3 and gemma share. */
export interface DecoderShape {
  layers: number;
  heads: number;
  keyHeads: number;
  headDim: number;
  eps: number;
  /** 1 where a norm's weight is stored as an offset from one (Gemma). */
  normOffset?: number;
  /** Multiplies embeddings (Gemma: √width). */
  embeddingScale?: number;
  activation?: Activation;
  /** RMSNorm of each head of q and k (Qwen 3). */
  headNorm?: boolean;
  /** The sliding window of a layer, undefined for none. */
  window?: (layer: number) => number | undefined;
  ropeScale?: number | undefined;
}

/** Token ids to final hidden states. @returns (rows, width), after the last norm */
export function decoder(context: ForwardContext, shape: DecoderShape): Value {
  const norm = (x: Value, name: string, residual: Value | undefined) =>
    rmsNorm(x, context.weight(`model.${name}.weight`), {
      eps: shape.eps,
      offset: shape.normOffset ?? 0,
      ...(residual && { residual }),
    });
  const table = context.weight("model.embed_tokens.weight");
  let x = embedding(table, context.ids, { scale: shape.embeddingScale ?? 1, dtype: context.dtype });
  // The residual stream joins inside the norms, so that a block's output is read once.
  let residual: Value | undefined;
  for (let i = 0; i < shape.layers; i++) {
    const before = norm(x, `layers.${i}.input_layernorm`, residual);
    const attended = attentionBlock(context, i, before.y, {
      heads: shape.heads,
      keyHeads: shape.keyHeads,
      headDim: shape.headDim,
      prefix: `model.layers.${i}.self_attn`,
      ...(shape.headNorm && { headNormEps: shape.eps }),
      window: shape.window?.(i),
      ropeScale: shape.ropeScale,
    });
    const between = norm(attended, `layers.${i}.post_attention_layernorm`, before.h);
    const mlp = `model.layers.${i}.mlp`;
    const gated = glu(
      context.linear(between.y, `${mlp}.gate_proj`),
      context.linear(between.y, `${mlp}.up_proj`),
      shape.activation,
    );
    x = context.linear(gated, `${mlp}.down_proj`);
    residual = between.h;
  }
  return norm(x, "norm", residual).y;
}
