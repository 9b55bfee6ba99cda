import { add, embedding, gelu, layerNorm, recomputable, reshape, type Value } from "../graph/index.ts";
import type { ForwardContext, Heads } from "./context.ts";
import { type RelativeBias, relativeAttention } from "./relative-bias.ts";

/** Names of an encoder's weights, without the model's prefix and without `.weight` and `.bias`. */
export interface EncoderNames {
  embeddings: { word: string; position: string; tokenType: string; norm: string; project: string };
  /** Prefix of a layer's names, followed by its number. */
  layers: string;
  layer: {
    query: string;
    key: string;
    value: string;
    attended: string;
    attentionNorm: string;
    inner: string;
    outer: string;
    norm: string;
  };
  /** Name of the table of relative position biases, which all layers share (MPNet). */
  relativeBias?: string;
}

/** The weight names of BERT. */
export const BERT_NAMES: EncoderNames = {
  embeddings: {
    word: "embeddings.word_embeddings",
    position: "embeddings.position_embeddings",
    tokenType: "embeddings.token_type_embeddings",
    norm: "embeddings.LayerNorm",
    project: "embeddings_project",
  },
  layers: "encoder.layer",
  layer: {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attended: "attention.output.dense",
    attentionNorm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    outer: "output.dense",
    norm: "output.LayerNorm",
  },
};

/**
 * Sizes and flags of BERT and its variants. They all have learned positions, bidirectional attention, and layer norms on the blocks'
 * outputs.
 */
interface EncoderShape {
  names: EncoderNames;
  /** Prefix of all names, such as `bert.`. */
  prefix: string;
  layers: number;
  heads: number;
  headDim: number;
  eps: number;
  /** Approximation of GELU. Default: `none` (exact). */
  approximate?: "tanh" | "none";
  /** Whether tokens have token types (all variants except DistilBERT and MPNet). */
  segments?: boolean;
  /** Whether a linear layer projects the embeddings to the blocks' width (ELECTRA). */
  projects?: boolean;
  /** Relative position biases of the attention scores (MPNet). */
  relative?: RelativeBias | undefined;
}

/** Computes the hidden states of token ids. @returns (rows, width), after the last block's norm */
export function encoder(context: ForwardContext, shape: EncoderShape): Value {
  const { heads, headDim, eps, prefix, approximate = "none" } = shape;
  const { embeddings, layers, layer: names } = shape.names;
  const norm = (x: Value, name: string, residual?: Value) =>
    layerNorm(x, context.weight(`${name}.weight`), {
      eps,
      bias: context.weight(`${name}.bias`),
      ...(residual && { residual }),
    }).y;
  const look = (name: string, ids: Value) =>
    embedding(context.weight(`${prefix}${name}.weight`), ids, { dtype: context.dtype });
  const attend = shape.relative
    ? relativeAttention(context, shape.relative, shape)
    : (i: number, operands: Heads) => context.attend(i, operands, { causal: false });
  const block = (i: number, x: Value) => {
    const name = (part: keyof EncoderNames["layer"]) => `${prefix}${layers}.${i}.${names[part]}`;
    const rows = x.dim(0);
    const project = (part: "query" | "key" | "value") => reshape(context.linear(x, name(part)), [rows, heads, headDim]);
    const o = attend(i, { q: project("query"), k: project("key"), v: project("value") });
    const attended = context.linear(reshape(o, [rows, heads * headDim]), name("attended"));
    const between = norm(attended, name("attentionNorm"), x);
    const inner = gelu(context.linear(between, name("inner")), { approximate });
    return norm(context.linear(inner, name("outer")), name("norm"), between);
  };
  const tokens = add(look(embeddings.word, context.ids), look(embeddings.position, context.positions));
  const summed = shape.segments === false ? tokens : add(tokens, look(embeddings.tokenType, context.tokenTypes()));
  let x = norm(summed, `${prefix}${embeddings.norm}`);
  if (shape.projects) x = context.linear(x, `${prefix}${embeddings.project}`);
  for (let i = 0; i < shape.layers; i++) x = recomputable(() => block(i, x));
  return x;
}
