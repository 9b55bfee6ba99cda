import { gelu } from "../../graph/index.ts";
import { bertKin } from "./bert.ts";

/** ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than its blocks; its discriminators are what is used. */
export const electra = bertKin({
  modelType: "electra",
  head: { name: "classifier.dense", activation: (x) => gelu(x) },
});
