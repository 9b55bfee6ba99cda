// vLLM's endpoints in addition to OpenAI's: rerank, score, classify, tokenize and detokenize. Their errors are in OpenAI's form.
import type { Dialect, Route } from "../core/routes.ts";
import { openai } from "../openai/dialect.ts";
import { classify } from "./classify.ts";
import { cohereRerank, jinaRerank } from "./rerank.ts";
import { score } from "./score.ts";
import { detokenize, tokenize } from "./tokenize.ts";

const at = (paths: readonly string[], endpoint: Route["endpoint"]): Route[] =>
  paths.map((path) => ({ method: "POST", path, endpoint }));

export const vllm: Dialect = {
  errorBody: openai.errorBody,
  parameterNames: { ...openai.parameterNames, label: "label", text: "input" },
  routes: [
    ...at(["/v1/rerank", "/rerank"], jinaRerank),
    ...at(["/v2/rerank"], cohereRerank),
    ...at(["/v1/score", "/score"], score),
    ...at(["/v1/classify", "/classify"], classify),
    ...at(["/tokenize"], tokenize),
    ...at(["/detokenize"], detokenize),
  ],
};
