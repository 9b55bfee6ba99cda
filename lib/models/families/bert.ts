import type { ModelConfig } from "../../formats/config/config.ts";
import type { FamilyFacts } from "../../formats/config/family-format.ts";
import { firstPosition } from "../../formats/config/positions.ts";
import { tanh, type Value } from "../../graph/index.ts";
import { BERT_NAMES, type EncoderNames, encoder } from "../../nn/encoder.ts";
import { relativeConstants } from "../../nn/relative-bias.ts";
import type { FamilyDefinition, WeightSpec } from "../family.ts";

type Weights = Map<string, WeightSpec>;

function linearWeights(out: Weights, name: string, outputs: number, inputs: number): void {
  out.set(`${name}.weight`, { shape: [outputs, inputs], init: "normal" });
  out.set(`${name}.bias`, { shape: [outputs], init: "zeros" });
}

function normWeights(out: Weights, name: string, width: number): void {
  out.set(`${name}.weight`, { shape: [width], init: "ones" });
  out.set(`${name}.bias`, { shape: [width], init: "zeros" });
}

const mustBe = { position_embedding_type: "absolute", is_decoder: false, add_cross_attention: false };

/** Facts of families with BERT's keys of config.json. */
export const bertKeys = {
  keys: { layer_norm_eps: "layerNormEpsilon", type_vocab_size: "typeVocabSize" },
  mustBe,
} as const satisfies Partial<FamilyFacts>;

/** A text classifier's head in GGUF: the dense layer `cls`, then the output `cls.output`. */
export const bertClassifier = { pooling: "first", biases: ["cls", "cls.output"] } as const;

/** Returns the GGUF names of a family with BERT's blocks. */
export function bertNames(prefix: string, { embeddings, layers, layer }: EncoderNames): Record<string, string> {
  const of = (part: keyof EncoderNames["layer"]) => `${prefix}${layers}.{layer}.${layer[part]}`;
  return {
    [`${prefix}${embeddings.word}`]: "token_embd",
    [`${prefix}${embeddings.position}`]: "position_embd",
    [`${prefix}${embeddings.tokenType}`]: "token_types",
    [`${prefix}${embeddings.norm}`]: "token_embd_norm",
    [of("query")]: "blk.{layer}.attn_q",
    [of("key")]: "blk.{layer}.attn_k",
    [of("value")]: "blk.{layer}.attn_v",
    [of("attended")]: "blk.{layer}.attn_output",
    [of("attentionNorm")]: "blk.{layer}.attn_output_norm",
    [of("inner")]: "blk.{layer}.ffn_up",
    [of("outer")]: "blk.{layer}.ffn_down",
    [of("norm")]: "blk.{layer}.layer_output_norm",
  };
}

/** Describes a family with BERT's blocks. */
interface BertLike extends FamilyFacts {
  modelType: string;
  /** Prefix of the trunk's weights. */
  prefix: string;
  /** Names of the family's weights. Default: BERT's. */
  blocks?: EncoderNames;
  /** The dense layer before a text classifier, hidden_size wide. A token classifier reads the hidden states directly. */
  classifier: { name: string; activation: (x: Value) => Value };
}

/** Defines an encoder family with BERT's blocks. Its masked-language-modeling head is not read. */
export function bertLike({
  prefix,
  blocks: names = BERT_NAMES,
  classifier: head,
  ...facts
}: BertLike): FamilyDefinition {
  const weights = (config: ModelConfig): Weights => {
    const { hiddenSize: width, intermediateSize: inner, typeVocabSize: types, embeddingSize = width } = config;
    const { embeddings, layers, layer } = names;
    const out: Weights = new Map();
    const table = (name: string, rows: number) =>
      out.set(`${prefix}${name}.weight`, { shape: [rows, embeddingSize], init: "normal" });
    table(embeddings.word, config.vocabSize);
    table(embeddings.position, firstPosition(config) + config.maxPositionEmbeddings);
    if (types !== undefined) table(embeddings.tokenType, types);
    normWeights(out, `${prefix}${embeddings.norm}`, embeddingSize);
    if (embeddingSize !== width) linearWeights(out, `${prefix}${embeddings.project}`, width, embeddingSize);
    // One row for each of the 32 buckets of distances (lib/nn/relative-bias.ts).
    if (names.relativeBias)
      out.set(`${prefix}${names.relativeBias}.weight`, { shape: [32, config.numAttentionHeads], init: "normal" });
    for (let i = 0; i < config.numHiddenLayers; i++) {
      const name = (part: keyof EncoderNames["layer"]) => `${prefix}${layers}.${i}.${layer[part]}`;
      for (const part of ["query", "key", "value", "attended"] as const) linearWeights(out, name(part), width, width);
      normWeights(out, name("attentionNorm"), width);
      linearWeights(out, name("inner"), inner, width);
      linearWeights(out, name("outer"), width, inner);
      normWeights(out, name("norm"), width);
    }
    return out;
  };
  return {
    positions: "from 0",
    trunk: { prefix, bare: "embeddings.word_embeddings.weight" },
    ...facts,
    defaults: { layerNormEpsilon: 1e-12, hiddenAct: "gelu", maxPositionEmbeddings: 512, ...facts.defaults },
    weights,
    constants: ({ maxPositionEmbeddings, numAttentionHeads }) =>
      names.relativeBias ? relativeConstants(maxPositionEmbeddings, numAttentionHeads) : new Map(),
    head: () => ({ weight: "cls.predictions.decoder.weight" }),
    forward: (context, config) =>
      encoder(context, {
        names,
        prefix,
        layers: config.numHiddenLayers,
        heads: config.numAttentionHeads,
        headDim: config.headDim,
        eps: config.layerNormEpsilon,
        approximate: config.hiddenAct === "gelu" ? "none" : "tanh",
        segments: config.typeVocabSize !== undefined,
        relative: names.relativeBias
          ? {
              name: `${prefix}${names.relativeBias}`,
              first: firstPosition(config),
              positions: config.maxPositionEmbeddings,
            }
          : undefined,
        projects: (config.embeddingSize ?? config.hiddenSize) !== config.hiddenSize,
      }),
    encoder: {
      ...(names.relativeBias !== undefined && { byDistance: true }),
      classifierWeights({ hiddenSize, classifier }) {
        const out: Weights = new Map();
        if (classifier?.task === "sequence") linearWeights(out, head.name, hiddenSize, hiddenSize);
        return out;
      },
      classifierInput: ({ linear }, { classifier }, x) =>
        classifier?.task === "sequence" ? head.activation(linear(x, head.name)) : x,
    },
  };
}

/** BERT (Devlin et al. 2019). Its text classifier reads the pooler's output. */
export const bert = bertLike({
  modelType: "bert",
  architecture: "BertModel",
  prefix: "bert.",
  ...bertKeys,
  defaults: { typeVocabSize: 2 },
  unread: (task) => (task === "sequence" ? /^cls\./ : /^(cls|bert\.pooler)\./),
  gguf: {
    architecture: "bert",
    names: { ...bertNames("bert.", BERT_NAMES), "bert.pooler.dense": "cls", classifier: "cls.output" },
    complete: true,
    classifier: bertClassifier,
  },
  classifier: { name: "bert.pooler.dense", activation: tanh },
});
