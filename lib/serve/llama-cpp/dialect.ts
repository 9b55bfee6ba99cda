// Endpoints of llama.cpp's server that editors use. Their errors are in OpenAI's form.
import type { Dialect } from "../core/routes.ts";
import { openai } from "../openai/dialect.ts";
import { infill } from "./infill.ts";

/** The routes and errors of llama.cpp's server. */
export const llamaCpp: Dialect = {
  errorBody: openai.errorBody,
  parameterNames: {
    ...openai.parameterNames,
    maxTokens: "n_predict",
    repetitionPenalty: "repeat_penalty",
    prompt: "input_prefix", // the library's `prompt` is the whole prompt, but the request's `prompt` is only its end
  },
  routes: [{ method: "POST", path: "/infill", endpoint: infill }],
};
