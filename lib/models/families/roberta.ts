import { tanh } from "../../graph/index.ts";
import { bertKin } from "./bert.ts";

const head = { name: "classifier.dense", activation: tanh };

/** RoBERTa (Liu et al. 2019): BERT whose positions start after the padding id. Its text classifier has an additional layer. */
export const roberta = bertKin({ modelType: "roberta", head });

/** XLM-RoBERTa (Conneau et al. 2020): RoBERTa of a hundred languages, with a vocabulary of SentencePiece. */
export const xlmRoberta = bertKin({ modelType: "xlm-roberta", head });

/** CamemBERT (Martin et al. 2020): RoBERTa of French. */
export const camembert = bertKin({ modelType: "camembert", head });
