import { tanh } from "../../graph/index.ts";
import { BERT_NAMES } from "../../nn/encoder.ts";
import { bertLike } from "./bert.ts";

/** MPNet, such as all-mpnet-base-v2 (Song et al. 2020): BERT with relative position biases, one table for all layers, and without token types. */
export const mpnet = bertLike({
  modelType: "mpnet",
  architecture: "MPNetModel",
  prefix: "mpnet.",
  blocks: {
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
  keys: { layer_norm_eps: "layerNormEpsilon" },
  defaults: { padTokenId: 1 },
  mustBe: { is_decoder: false, add_cross_attention: false },
  fixed: { relative_attention_num_buckets: 32 },
  // Limit the length, because the memory of MPNet's attention grows quadratically with it (lib/nn/relative-bias.ts).
  check: ({ maxPositionEmbeddings: most }) =>
    most > 8192 ? `max_position_embeddings: expected at most 8192 tokens, got ${most}` : undefined,
  positions: "from 2",
  unread: () => /^(lm_head|mpnet\.pooler)\./,
  classifierNames: { sequence: "classifier.out_proj" },
  classifier: { name: "classifier.dense", activation: tanh },
});
