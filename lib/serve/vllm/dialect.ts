// vLLM's endpoints in addition to OpenAI's: rerank, score, classify, tokenize and detokenize. Their errors are in OpenAI's form.
import type { Dialect, Route } from "../core/routes.ts";
import { openai } from "../openai/dialect.ts";
import { classify } from "./classify.ts";
import { cohereRerank, jinaRerank } from "./rerank.ts";
import { score } from "./score.ts";
import { detokenize, tokenize } from "./tokenize.ts";

/** @param text name of the parameter that the library's errors call `text` */
const at = (paths: readonly string[], endpoint: Route["endpoint"], text?: string): Route[] =>
  paths.map((path) => ({ method: "POST", path, endpoint, ...(text !== undefined && { parameterNames: { text } }) }));

/** The routes of vLLM's server that OpenAI's API lacks. */
export const vllm: Dialect = {
  errorBody: openai.errorBody,
  parameterNames: { ...openai.parameterNames, label: "label" },
  routes: [
    ...at(["/v1/rerank", "/rerank"], jinaRerank, "documents"),
    ...at(["/v2/rerank"], cohereRerank, "documents"),
    ...at(["/v1/score", "/score"], score, "text_2"),
    ...at(["/v1/classify", "/classify"], classify, "input"),
    ...at(["/tokenize"], tokenize, "prompt"),
    ...at(["/detokenize"], detokenize),
  ],
};
