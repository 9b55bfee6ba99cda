import type { ModelConfig } from "../../formats/config/config.ts";
import { type BuiltInModelType, FAMILY_FORMATS } from "../../formats/config/families.ts";
import { firstPosition } from "../../formats/config/positions.ts";
import { tanh, type Value } from "../../graph/index.ts";
import { BERT_NAMES, type EncoderNames, encoder } from "../../nn/encoder.ts";
import { relativeConstants } from "../../nn/relative-bias.ts";
import type { Family, WeightSpec } from "../family.ts";

type Weights = Map<string, WeightSpec>;

function linearWeights(out: Weights, name: string, outputs: number, inputs: number): void {
  out.set(`${name}.weight`, { shape: [outputs, inputs], init: "normal" });
  out.set(`${name}.bias`, { shape: [outputs], init: "zeros" });
}

function normWeights(out: Weights, name: string, width: number): void {
  out.set(`${name}.weight`, { shape: [width], init: "ones" });
  out.set(`${name}.bias`, { shape: [width], init: "zeros" });
}

/** The differences between families like BERT. */
interface Kin {
  modelType: BuiltInModelType;
  /** Default: BERT's. */
  names?: EncoderNames;
  /** Between hidden states, or what was pooled of them, and the classifier of texts: a layer as wide as they are. That of words reads hidden states. */
  head: { name: string; activation: (x: Value) => Value };
}

/** A family of BERT's blocks. It encodes: its masked-language-modelling head is not read. */
export function bertKin({ modelType, names = BERT_NAMES, head }: Kin): Family {
  const { architecture, trunk } = FAMILY_FORMATS[modelType];
  const { prefix } = trunk!;
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
    modelTypes: [modelType],
    architecture,
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

/** BERT (Devlin et al. 2019). Its classifier of texts reads the pooler's output. */
export const bert = bertKin({ modelType: "bert", head: { name: "bert.pooler.dense", activation: tanh } });
