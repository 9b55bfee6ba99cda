// File formats of BERT-like families, for families.ts.
import type { FamilyFormat } from "../family-format.ts";

const none = { kind: "none" } as const;
const bertLike = {
  rmsNormEps: 1e-6,
  layerNormEpsilon: 1e-12,
  hiddenAct: "gelu",
  ropeTheta: 1e4,
  maxPositionEmbeddings: 512,
} as const;
const bertKeys = { layer_norm_eps: "layerNormEpsilon", type_vocab_size: "typeVocabSize" } as const;
const bertMustBe = { position_embedding_type: "absolute", is_decoder: false, add_cross_attention: false } as const;
const robertaLike: Omit<FamilyFormat, "architecture"> = {
  gguf: "bert",
  defaults: { ...bertLike, layerNormEpsilon: 1e-5, typeVocabSize: 1, padTokenId: 1 },
  fileDefaults: { layerNormEpsilon: 1e-12, typeVocabSize: 2 },
  keys: bertKeys,
  mustBe: bertMustBe,
  windows: none,
  positions: "behind padding",
  trunk: { prefix: "roberta.", bare: "embeddings.word_embeddings.weight" },
  encoder: { unread: () => /^(lm_head|roberta\.pooler)\./, outProjection: true },
};

export const BERT_KIN = {
  bert: {
    architecture: "BertModel",
    gguf: "bert",
    defaults: { ...bertLike, typeVocabSize: 2 },
    keys: bertKeys,
    mustBe: bertMustBe,
    windows: none,
    trunk: { prefix: "bert.", bare: "embeddings.word_embeddings.weight" },
    positions: "from 0",
    encoder: { unread: (task) => (task === "sequence" ? /^cls\./ : /^(cls|bert\.pooler)\./) },
  },
  roberta: { ...robertaLike, architecture: "RobertaModel" },
  "xlm-roberta": { ...robertaLike, architecture: "XLMRobertaModel" },
  camembert: { ...robertaLike, architecture: "CamembertModel" },
  distilbert: {
    architecture: "DistilBertModel",
    gguf: "bert",
    defaults: bertLike,
    keys: {
      dim: "hiddenSize",
      hidden_dim: "intermediateSize",
      n_layers: "numHiddenLayers",
      n_heads: "numAttentionHeads",
    },
    windows: none,
    positions: "from 0",
    activationKey: "activation",
    trunk: { prefix: "distilbert.", bare: "embeddings.word_embeddings.weight" },
    encoder: { unread: () => /^vocab_(transform|layer_norm|projector)\./ },
  },
  electra: {
    architecture: "ElectraModel",
    defaults: { ...bertLike, typeVocabSize: 2 },
    fileDefaults: { embeddingSize: 128 },
    keys: { ...bertKeys, embedding_size: "embeddingSize" },
    mustBe: bertMustBe,
    windows: none,
    positions: "from 0",
    trunk: { prefix: "electra.", bare: "embeddings.word_embeddings.weight" },
    encoder: {
      unread: () => /^(generator_predictions|generator_lm_head|discriminator_predictions)\./,
      outProjection: true,
    },
  },
  mpnet: {
    architecture: "MPNetModel",
    defaults: { ...bertLike, padTokenId: 1 },
    keys: { layer_norm_eps: "layerNormEpsilon" },
    mustBe: { is_decoder: false, add_cross_attention: false },
    fixed: { relative_attention_num_buckets: 32 },
    windows: none,
    positions: "from 2",
    trunk: { prefix: "mpnet.", bare: "embeddings.word_embeddings.weight" },
    encoder: { unread: () => /^(lm_head|mpnet\.pooler)\./, outProjection: true },
  },
} as const satisfies Record<string, FamilyFormat>;
