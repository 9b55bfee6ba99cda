// Anthropic's Messages API: its endpoints, parameter names and form of errors.
import type { Dialect } from "../core/routes.ts";
import type { Refusal } from "../http/http-error.ts";
import { countTokens, createMessage } from "./messages.ts";
import { listModels, showModel } from "./models.ts";
import { THREAD_UNSUPPORTED } from "./schema.ts";

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 408:
      return "timeout_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

const OUTPUT_FORMAT = "output_config.format";

/** The routes and errors of Anthropic's API. */
export const anthropic: Dialect = {
  errorBody: ({ status, message, code }: Refusal, requestId) => ({
    type: "error",
    error: { type: typeOf(status), message, ...(code === THREAD_UNSUPPORTED && { details: { error_code: code } }) },
    request_id: requestId,
  }),
  parameterNames: {
    maxTokens: "max_tokens",
    topK: "top_k",
    topP: "top_p",
    stop: "stop_sequences",
    message: "messages",
    messages: "messages",
    toolChoice: "tool_choice",
    responseFormat: OUTPUT_FORMAT,
    schema: OUTPUT_FORMAT, // error messages continue with a JSON pointer into the schema
    reasoning: "thinking",
    variables: "thinking",
    temperature: "temperature",
    tools: "tools",
  },
  routes: [
    { method: "POST", path: "/v1/messages", endpoint: createMessage },
    { method: "POST", path: "/v1/messages/count_tokens", endpoint: countTokens },
    { method: "GET", path: "/v1/models", endpoint: listModels },
    { method: "GET", path: "/v1/models/:model", endpoint: showModel },
  ],
  requestIdHeader: "request-id",
  // OpenAI's API has some of the same paths, so this header decides.
  claims: ({ headers }) => headers["anthropic-version"] !== undefined,
};
