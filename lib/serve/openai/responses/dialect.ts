// OpenAI's Responses API: its endpoints and parameter names.
import type { Dialect } from "../../core/routes.ts";
import { errorBody, openai } from "../dialect.ts";
import { countInputTokens } from "./count.ts";
import { createResponse } from "./create.ts";
import { deleteResponse, listInputItems, showResponse } from "./stored.ts";

/** The routes and errors of OpenAI's Responses API. */
export const responses: Dialect = {
  errorBody,
  parameterNames: {
    ...openai.parameterNames,
    maxTokens: "max_output_tokens",
    message: "input",
    messages: "input",
    reasoning: "reasoning.effort",
    responseFormat: "text.format",
    schema: "text.format.schema",
  },
  routes: [
    { method: "POST", path: "/v1/responses", endpoint: createResponse },
    { method: "POST", path: "/v1/responses/input_tokens", endpoint: countInputTokens },
    { method: "GET", path: "/v1/responses/:response/input_items", endpoint: listInputItems },
    { method: "GET", path: "/v1/responses/:response", endpoint: showResponse },
    { method: "DELETE", path: "/v1/responses/:response", endpoint: deleteResponse },
  ],
};
