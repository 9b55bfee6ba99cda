import { gelu } from "../../graph/index.ts";
import { bertKeys, bertLike } from "./bert.ts";

/**
 * ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than its blocks. Published checkpoints are
 * discriminators.
 */
export const electra = bertLike({
  modelType: "electra",
  architecture: "ElectraModel",
  prefix: "electra.",
  ...bertKeys,
  keys: { ...bertKeys.keys, embedding_size: "embeddingSize" },
  defaults: { typeVocabSize: 2 },
  fileDefaults: { embeddingSize: 128 },
  derive: ({ hiddenSize }) => ({ embeddingSize: hiddenSize }),
  unread: () => /^(generator_predictions|generator_lm_head|discriminator_predictions)\./,
  classifierNames: { sequence: "classifier.out_proj" },
  classifier: { name: "classifier.dense", activation: (x) => gelu(x) },
});
