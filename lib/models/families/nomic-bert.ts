import type { ModelConfig } from "../../formats/config/config.ts";
import {
  add,
  embedding,
  layerNorm,
  recomputable,
  reshape,
  split,
  swiglu,
  tanh,
  type Value,
} from "../../graph/index.ts";
import type { ForwardContext } from "../../nn/context.ts";
import { rotate } from "../../nn/rotary.ts";
import type { FamilyDefinition, WeightSpec } from "../family.ts";
import { rotaryOf } from "../rope-frequencies.ts";

function weights(config: ModelConfig): Map<string, WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner } = config;
  const out = new Map<string, WeightSpec>();
  const matrix = (name: string, outputs: number, inputs: number, init: WeightSpec["init"] = "normal") =>
    out.set(`${name}.weight`, { shape: [outputs, inputs], init });
  const norm = (name: string) => {
    out.set(`${name}.weight`, { shape: [width], init: "ones" });
    out.set(`${name}.bias`, { shape: [width], init: "zeros" });
  };
  matrix("embeddings.word_embeddings", config.vocabSize, width);
  matrix("embeddings.token_type_embeddings", config.typeVocabSize!, width);
  norm("emb_ln");
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `encoder.layers.${i}`;
    matrix(`${layer}.attn.Wqkv`, 3 * width, width);
    matrix(`${layer}.attn.out_proj`, width, width);
    norm(`${layer}.norm1`);
    matrix(`${layer}.mlp.fc11`, inner, width);
    matrix(`${layer}.mlp.fc12`, inner, width);
    matrix(`${layer}.mlp.fc2`, width, inner);
    norm(`${layer}.norm2`);
  }
  return out;
}

function forward(context: ForwardContext, config: ModelConfig): Value {
  const { weight, dtype } = context;
  const { hiddenSize: width, numAttentionHeads: heads, headDim } = config;
  const norm = (x: Value, name: string, residual?: Value) =>
    layerNorm(x, weight(`${name}.weight`), {
      eps: config.layerNormEpsilon,
      bias: weight(`${name}.bias`),
      ...(residual && { residual }),
    }).y;
  const look = (name: string, ids: Value) => embedding(weight(`embeddings.${name}_embeddings.weight`), ids, { dtype });
  const block = (i: number, x: Value) => {
    const layer = `encoder.layers.${i}`;
    const rows = x.dim(0);
    const parts = split(context.linear(x, `${layer}.attn.Wqkv`), [width, width, width]);
    const [q, k, v] = parts.map((part) => reshape(part, [rows, heads, headDim]));
    const rotary = rotaryOf(config, i)!;
    const rotated = { q: rotate(context, q!, rotary), k: rotate(context, k!, rotary), v: v! };
    const o = context.attend(i, rotated, { causal: false });
    const between = norm(context.linear(reshape(o, [rows, width]), `${layer}.attn.out_proj`), `${layer}.norm1`, x);
    // The second of the two matrices is the gate.
    const [up, gate] = [context.linear(between, `${layer}.mlp.fc11`), context.linear(between, `${layer}.mlp.fc12`)];
    return norm(context.linear(swiglu(gate, up), `${layer}.mlp.fc2`), `${layer}.norm2`, between);
  };
  let x = norm(add(look("word", context.ids), look("token_type", context.tokenTypes())), "emb_ln");
  for (let i = 0; i < config.numHiddenLayers; i++) x = recomputable(() => block(i, x));
  return x;
}

/**
 * NomicBERT (Nussbaum et al. 2024): BERT with RoPE, gated feed-forward blocks, and no biases except in norms. It is an
 * encoder, and its masked-language-modeling head is not read.
 */
export const nomicBert: FamilyDefinition = {
  modelType: "nomic_bert",
  architecture: "NomicBertModel",
  defaults: { layerNormEpsilon: 1e-12, ropeTheta: 1000, typeVocabSize: 2 },
  keys: {
    n_embd: "hiddenSize",
    n_inner: "intermediateSize",
    n_layer: "numHiddenLayers",
    n_head: "numAttentionHeads",
    n_positions: "maxPositionEmbeddings",
    layer_norm_epsilon: "layerNormEpsilon",
    rotary_emb_base: "ropeTheta",
    type_vocab_size: "typeVocabSize",
  },
  otherKeys: { layer_norm_eps: "layerNormEpsilon" },
  mustBe: { moe_every_n_layers: 0, rotary_emb_scale_base: undefined, rotary_scaling_factor: undefined },
  fixed: {
    activation_function: "swiglu",
    hidden_act: "silu",
    causal: false,
    prenorm: false,
    parallel_block: false,
    use_rms_norm: false,
    qkv_proj_bias: false,
    mlp_fc1_bias: false,
    mlp_fc2_bias: false,
    rotary_emb_fraction: 1,
    rotary_emb_interleaved: false,
  },
  trunk: { prefix: "", bare: "embeddings.word_embeddings.weight" },
  unread: (task) => (task === "sequence" ? /^cls\./ : /^(cls|pooler)\./),
  gguf: {
    architecture: "nomic-bert",
    names: {
      "embeddings.word_embeddings": "token_embd",
      "embeddings.token_type_embeddings": "token_types",
      emb_ln: "token_embd_norm",
      "encoder.layers.{layer}.attn.Wqkv": "blk.{layer}.attn_qkv",
      "encoder.layers.{layer}.attn.out_proj": "blk.{layer}.attn_output",
      "encoder.layers.{layer}.norm1": "blk.{layer}.attn_output_norm",
      "encoder.layers.{layer}.mlp.fc11": "blk.{layer}.ffn_up",
      "encoder.layers.{layer}.mlp.fc12": "blk.{layer}.ffn_gate",
      "encoder.layers.{layer}.mlp.fc2": "blk.{layer}.ffn_down",
      "encoder.layers.{layer}.norm2": "blk.{layer}.layer_output_norm",
    },
    complete: true,
  },
  weights,
  head: () => ({ weight: "cls.predictions.decoder.weight" }),
  forward,
  encoder: {
    classifierWeights({ hiddenSize, classifier }) {
      const out = new Map<string, WeightSpec>();
      if (classifier?.task !== "sequence") return out;
      out.set("pooler.dense.weight", { shape: [hiddenSize, hiddenSize], init: "normal" });
      return out.set("pooler.dense.bias", { shape: [hiddenSize], init: "zeros" });
    },
    classifierInput: ({ linear }, { classifier }, x) =>
      classifier?.task === "sequence" ? tanh(linear(x, "pooler.dense")) : x,
  },
};
