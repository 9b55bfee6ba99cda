import { relu } from "../../graph/index.ts";
import { BERT_NAMES } from "../../nn/encoder.ts";
import { bertLike, bertNames } from "./bert.ts";

const blocks = {
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
};

/** DistilBERT (Sanh et al. 2019): half of BERT's layers, no token types, and different names. */
export const distilbert = bertLike({
  modelType: "distilbert",
  architecture: "DistilBertModel",
  prefix: "distilbert.",
  blocks,
  keys: {
    dim: "hiddenSize",
    hidden_dim: "intermediateSize",
    n_layers: "numHiddenLayers",
    n_heads: "numAttentionHeads",
  },
  check: ({ layerNormEpsilon, typeVocabSize }) =>
    layerNormEpsilon === 1e-12 && typeVocabSize === undefined
      ? undefined
      : `layer_norm_epsilon and type_vocab_size: expected 1e-12 and no value, because config.json of distilbert has no keys for them, got ${layerNormEpsilon} and ${typeVocabSize ?? "no value"}`,
  activationKey: "activation",
  unread: () => /^vocab_(transform|layer_norm|projector)\./,
  // No `classifier`: llama.cpp computes a text classifier's head with tanh, and DistilBERT has ReLU.
  gguf: {
    architecture: "bert",
    sharedWhen: "no segments",
    names: bertNames("distilbert.", blocks),
    complete: true,
  },
  classifier: { name: "pre_classifier", activation: relu },
});
