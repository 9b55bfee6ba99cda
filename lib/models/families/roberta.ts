import { tanh } from "../../graph/index.ts";
import { BERT_NAMES } from "../../nn/encoder.ts";
import { bertClassifier, bertKeys, bertLike, bertNames } from "./bert.ts";

const common = {
  prefix: "roberta.",
  ...bertKeys,
  defaults: { layerNormEpsilon: 1e-5, typeVocabSize: 1, padTokenId: 1 },
  fileDefaults: { layerNormEpsilon: 1e-12, typeVocabSize: 2 },
  positions: "behind padding",
  unread: () => /^(lm_head|roberta\.pooler)\./,
  classifierNames: { sequence: "classifier.out_proj" },
  gguf: {
    architecture: "bert",
    sharedWhen: "named",
    names: {
      ...bertNames("roberta.", BERT_NAMES),
      "classifier.dense": "cls",
      "classifier.out_proj": "cls.output",
    },
    complete: true,
    classifier: bertClassifier,
  },
  classifier: { name: "classifier.dense", activation: tanh },
} as const;

/** RoBERTa (Liu et al. 2019): BERT whose positions start after the padding id. Its text classifier has an additional layer. */
export const roberta = bertLike({ modelType: "roberta", architecture: "RobertaModel", ...common });

/** XLM-RoBERTa (Conneau et al. 2020): RoBERTa for a hundred languages, with a SentencePiece vocabulary. */
export const xlmRoberta = bertLike({ modelType: "xlm-roberta", architecture: "XLMRobertaModel", ...common });

/** CamemBERT (Martin et al. 2020): RoBERTa for French. */
export const camembert = bertLike({ modelType: "camembert", architecture: "CamembertModel", ...common });
