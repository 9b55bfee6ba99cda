// Embedding endpoints of Hugging Face: those that text-embeddings-inference and the inference client use.
import type { Dialect } from "../core/routes.ts";
import { embed, featureExtraction } from "./embed.ts";

/** The routes and errors of Hugging Face's APIs for embeddings. */
export const huggingFace: Dialect = {
  errorBody: ({ status, message }) => ({ error: message, error_type: status < 500 ? "Validation" : "Backend" }),
  parameterNames: {},
  routes: [
    { method: "POST", path: "/embed", endpoint: embed },
    { method: "POST", path: "/models/:model/pipeline/feature-extraction", endpoint: featureExtraction },
  ],
};
