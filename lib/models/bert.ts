import type { ModelConfig } from "../formats/config.ts";
import { FAMILY_FORMATS } from "../formats/families.ts";
import { add, embedding, gelu, layerNorm, recomputable, reshape, tanh, type Value } from "../graph/index.ts";
import type { ForwardContext } from "../nn/context.ts";
import type { Family, WeightSpec } from "./family.ts";

type Weights = Map<string, WeightSpec>;

function linearWeights(out: Weights, name: string, outputs: number, inputs: number): void {
  out.set(`${name}.weight`, { shape: [outputs, inputs], init: "normal" });
  out.set(`${name}.bias`, { shape: [outputs], init: "zeros" });
}

function normWeights(out: Weights, name: string, width: number): void {
  out.set(`${name}.weight`, { shape: [width], init: "ones" });
  out.set(`${name}.bias`, { shape: [width], init: "zeros" });
}

function weights(config: ModelConfig): Weights {
  const { hiddenSize: width, intermediateSize: inner } = config;
  const out: Weights = new Map();
  const table = (name: string, rows: number) =>
    out.set(`bert.embeddings.${name}_embeddings.weight`, { shape: [rows, width], init: "normal" });
  table("word", config.vocabSize);
  table("position", config.maxPositionEmbeddings);
  table("token_type", config.typeVocabSize!);
  normWeights(out, "bert.embeddings.LayerNorm", width);
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `bert.encoder.layer.${i}`;
    for (const name of ["query", "key", "value"]) linearWeights(out, `${layer}.attention.self.${name}`, width, width);
    linearWeights(out, `${layer}.attention.output.dense`, width, width);
    normWeights(out, `${layer}.attention.output.LayerNorm`, width);
    linearWeights(out, `${layer}.intermediate.dense`, inner, width);
    linearWeights(out, `${layer}.output.dense`, width, inner);
    normWeights(out, `${layer}.output.LayerNorm`, width);
  }
  return out;
}

function forward(context: ForwardContext, config: ModelConfig): Value {
  const { weight, dtype } = context;
  const { numAttentionHeads: heads, headDim } = config;
  const norm = (x: Value, name: string, residual?: Value) =>
    layerNorm(x, weight(`${name}.weight`), {
      eps: config.layerNormEpsilon,
      bias: weight(`${name}.bias`),
      ...(residual && { residual }),
    }).y;
  const look = (name: string, ids: Value) =>
    embedding(weight(`bert.embeddings.${name}_embeddings.weight`), ids, { dtype });
  const tokens = add(look("word", context.ids), look("position", context.positions));
  const block = (i: number, x: Value) => {
    const layer = `bert.encoder.layer.${i}`;
    const rows = x.dim(0);
    const project = (name: string) =>
      reshape(context.linear(x, `${layer}.attention.self.${name}`), [rows, heads, headDim]);
    const o = context.attend(i, { q: project("query"), k: project("key"), v: project("value") }, { causal: false });
    const said = context.linear(reshape(o, [rows, heads * headDim]), `${layer}.attention.output.dense`);
    const between = norm(said, `${layer}.attention.output.LayerNorm`, x);
    const approximate = config.hiddenAct === "gelu" ? "none" : "tanh";
    const inner = gelu(context.linear(between, `${layer}.intermediate.dense`), { approximate });
    return norm(context.linear(inner, `${layer}.output.dense`), `${layer}.output.LayerNorm`, between);
  };
  let x = norm(add(tokens, look("token_type", context.tokenTypes())), "bert.embeddings.LayerNorm");
  for (let i = 0; i < config.numHiddenLayers; i++) x = recomputable(() => block(i, x));
  return x;
}

/**
 * BERT (Devlin et al. 2019): learned positions, attention both ways, layer norms on the blocks' outputs. It encodes: its
 * masked-language-modelling head is not read.
 */
export const bert: Family = {
  modelTypes: ["bert"],
  architecture: FAMILY_FORMATS.bert.architecture,
  weights,
  constants: () => new Map(),
  head: () => ({ weight: "cls.predictions.decoder.weight" }),
  forward,
  encoder: {
    // A text's classifier reads the pooler's output; one of words reads hidden states.
    classifierWeights({ hiddenSize, classifier }) {
      const out: Weights = new Map();
      if (classifier?.task === "sequence") linearWeights(out, "bert.pooler.dense", hiddenSize, hiddenSize);
      return out;
    },
    classifierInput: ({ linear }, { classifier }, x) =>
      classifier?.task === "sequence" ? tanh(linear(x, "bert.pooler.dense")) : x,
  },
};
