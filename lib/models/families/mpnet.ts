import { tanh } from "../../graph/index.ts";
import { BERT_NAMES } from "../../nn/encoder.ts";
import { bertKin } from "./bert.ts";

/** MPNet (Song et al. 2020): BERT whose attention has biases by distance, one table for all layers, and no kinds of segments. */
export const mpnet = bertKin({
  modelType: "mpnet",
  names: {
    ...BERT_NAMES,
    layer: {
      ...BERT_NAMES.layer,
      query: "attention.attn.q",
      key: "attention.attn.k",
      value: "attention.attn.v",
      attended: "attention.attn.o",
      attentionNorm: "attention.LayerNorm",
    },
    relativeBias: "encoder.relative_attention_bias",
  },
  head: { name: "classifier.dense", activation: tanh },
});
