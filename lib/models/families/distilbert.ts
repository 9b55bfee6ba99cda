import { relu } from "../../graph/index.ts";
import { BERT_NAMES } from "../../nn/encoder.ts";
import { bertKin } from "./bert.ts";

/** DistilBERT (Sanh et al. 2019): half of BERT's layers, no token types, and different names. */
export const distilbert = bertKin({
  modelType: "distilbert",
  names: {
    embeddings: BERT_NAMES.embeddings,
    layers: "transformer.layer",
    layer: {
      query: "attention.q_lin",
      key: "attention.k_lin",
      value: "attention.v_lin",
      attended: "attention.out_lin",
      attentionNorm: "sa_layer_norm",
      inner: "ffn.lin1",
      outer: "ffn.lin2",
      norm: "output_layer_norm",
    },
  },
  head: { name: "pre_classifier", activation: relu },
});
