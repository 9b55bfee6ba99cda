// Endpoints of Hugging Face's servers that OpenAI's API lacks: vectors as its inference client and text-embeddings-inference have them.
import type { Dialect } from "../core/routes.ts";
import { embed, featureExtraction } from "./embed.ts";

export const huggingFace: Dialect = {
  errorBody: ({ status, message }) => ({ error: message, error_type: status < 500 ? "Validation" : "Backend" }),
  parameterNames: {},
  routes: [
    { method: "POST", path: "/embed", endpoint: embed },
    { method: "POST", path: "/models/:model/pipeline/feature-extraction", endpoint: featureExtraction },
  ],
};
