import type { ModelConfig } from "../../formats/config/config.ts";
import { embedding, gelu, glu, layerNorm, recomputable, reshape, split, type Value } from "../../graph/index.ts";
import type { ForwardContext } from "../../nn/context.ts";
import { rotate } from "../../nn/rotary.ts";
import { activationOf, slidingWindow } from "../decoder-weights.ts";
import type { FamilyDefinition, WeightSpec } from "../family.ts";
import { rotaryOf } from "../rope-frequencies.ts";

function weights(config: ModelConfig): Map<string, WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner } = config;
  const out = new Map<string, WeightSpec>();
  const norm = (name: string) => out.set(`${name}.weight`, { shape: [width], init: "ones" });
  const linear = (
    name: string,
    outputs: number,
    inputs: number,
    bias: boolean,
    init: WeightSpec["init"] = "normal",
  ) => {
    out.set(`${name}.weight`, { shape: [outputs, inputs], init });
    if (bias) out.set(`${name}.bias`, { shape: [outputs], init: "zeros" });
  };
  out.set("model.embeddings.tok_embeddings.weight", { shape: [config.vocabSize, width], init: "normal" });
  norm("model.embeddings.norm");
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `model.layers.${i}`;
    if (i > 0) norm(`${layer}.attn_norm`);
    linear(`${layer}.attn.Wqkv`, 3 * width, width, config.attentionBias);
    linear(`${layer}.attn.Wo`, width, width, config.attentionBias, "residual");
    norm(`${layer}.mlp_norm`);
    linear(`${layer}.mlp.Wi`, 2 * inner, width, config.mlpBias);
    linear(`${layer}.mlp.Wo`, width, inner, config.mlpBias, "residual");
  }
  norm("model.final_norm");
  return out;
}

function forward(context: ForwardContext, config: ModelConfig): Value {
  const { hiddenSize: width, numAttentionHeads: heads, headDim, layerNormEpsilon: eps } = config;
  const norm = (x: Value, name: string, residual?: Value) =>
    layerNorm(x, context.weight(`model.${name}.weight`), { eps, ...(residual && { residual }) });
  const table = context.weight("model.embeddings.tok_embeddings.weight");
  const embedded = norm(embedding(table, context.ids, { dtype: context.dtype }), "embeddings.norm").y;
  const block = (i: number, x: Value, residual: Value | undefined) => {
    const layer = `layers.${i}`;
    // The first layer has no attention norm, because the embeddings are already normalized.
    const before = i === 0 ? { y: embedded, h: embedded } : norm(x, `${layer}.attn_norm`, residual);
    const rows = before.y.dim(0);
    const parts = split(context.linear(before.y, `model.${layer}.attn.Wqkv`), [width, width, width]);
    const [q, k, v] = parts.map((part) => reshape(part, [rows, heads, headDim]));
    const rotary = rotaryOf(config, i)!;
    const o = context.attend(
      i,
      { q: rotate(context, q!, rotary), k: rotate(context, k!, rotary), v: v! },
      { causal: false, window: slidingWindow(config, i) },
    );
    const attended = context.linear(reshape(o, [rows, width]), `model.${layer}.attn.Wo`);
    const between = norm(attended, `${layer}.mlp_norm`, before.h);
    const both = context.linear(between.y, `model.${layer}.mlp.Wi`);
    const [gate, up] = split(both, [config.intermediateSize, config.intermediateSize]);
    return { x: context.linear(glu(gate!, up!, activationOf(config)), `model.${layer}.mlp.Wo`), residual: between.h };
  };
  let stream: { x: Value; residual?: Value } = { x: embedded };
  for (let i = 0; i < config.numHiddenLayers; i++) stream = recomputable(() => block(i, stream.x, stream.residual));
  return norm(stream.x, "final_norm", stream.residual).y;
}

/**
 * ModernBERT (Warner et al. 2024): RoPE with two θ, one full-attention layer for every two with a bidirectional window,
 * GeGLU, and pre-norm without biases. It is an encoder, and its masked-language-modeling head is not read.
 */
export const modernbert: FamilyDefinition = {
  modelType: "modernbert",
  architecture: "ModernBertModel",
  defaults: {
    layerNormEpsilon: 1e-5,
    hiddenAct: "gelu",
    ropeTheta: 160000,
    ropeLocalTheta: 1e4,
    maxPositionEmbeddings: 8192,
  },
  keys: {
    norm_eps: "layerNormEpsilon",
    global_rope_theta: "ropeTheta",
    local_rope_theta: "ropeLocalTheta",
  },
  mustBe: { norm_bias: false, classifier_bias: false, classifier_activation: "gelu" },
  windows: { kind: "global", period: 3, otherwise: 128 },
  trunk: { prefix: "model.", bare: "embeddings.tok_embeddings.weight" },
  activationKey: "hidden_activation",
  unread: (task) => (task ? /^decoder\./ : /^(head|decoder)\./),
  gguf: {
    architecture: "modern-bert",
    names: {
      "model.embeddings.tok_embeddings": "token_embd",
      "model.embeddings.norm": "token_embd_norm",
      "model.final_norm": "output_norm",
      "head.dense": "cls",
      "head.norm": "cls.norm",
      classifier: "cls.output",
      "model.layers.{layer}.attn_norm": "blk.{layer}.attn_norm",
      "model.layers.{layer}.attn.Wqkv": "blk.{layer}.attn_qkv",
      "model.layers.{layer}.attn.Wo": "blk.{layer}.attn_output",
      "model.layers.{layer}.mlp_norm": "blk.{layer}.ffn_norm",
      "model.layers.{layer}.mlp.Wi": "blk.{layer}.ffn_up",
      "model.layers.{layer}.mlp.Wo": "blk.{layer}.ffn_down",
    },
    complete: true,
    classifier: { pooling: "mean", biases: ["cls.output"] },
    llamaCpp: { windows: true, attentionBias: false, mlpBias: false },
  },
  weights,
  head: () => ({ weight: "decoder.weight" }),
  forward,
  encoder: {
    classifierWeights: ({ hiddenSize }) =>
      new Map<string, WeightSpec>([
        ["head.dense.weight", { shape: [hiddenSize, hiddenSize], init: "normal" }],
        ["head.norm.weight", { shape: [hiddenSize], init: "ones" }],
      ]),
    classifierInput: ({ linear, weight }, { layerNormEpsilon: eps }, x) =>
      layerNorm(gelu(linear(x, "head.dense")), weight("head.norm.weight"), { eps }).y,
  },
};
