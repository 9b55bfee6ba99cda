// OpenAI's API: its endpoints, parameter names and form of errors.
import type { Dialect } from "../core/routes.ts";
import type { Refusal } from "../http/http-error.ts";
import { chatCompletions } from "./chat-completions.ts";
import { completions } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import { listModels, showModel } from "./models.ts";

/** The body of an error response. */
interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

/** Returns the body of an error response: `{error: {message, type, param, code}}`. */
export function errorBody({ status, message, param, code }: Refusal): ErrorBody {
  return { error: { message, type: typeOf(status), param, code } };
}

/** Maps the library's option names, with which its error messages begin, to request parameters. */
const parameterNames: Readonly<Record<string, string>> = {
  maxTokens: "max_tokens",
  topK: "top_k",
  topP: "top_p",
  minP: "min_p",
  repetitionPenalty: "repetition_penalty",
  presencePenalty: "presence_penalty",
  frequencyPenalty: "frequency_penalty",
  logitBias: "logit_bias",
  topLogprobs: "top_logprobs",
  variables: "chat_template_kwargs",
  message: "messages",
  messages: "messages",
  responseFormat: "response_format",
  toolChoice: "tool_choice",
  reasoning: "reasoning_effort",
  schema: "response_format", // with a JSON pointer after it, as in `schema#/properties/a: …`
  ...Object.fromEntries(["temperature", "n", "stop", "seed", "tools", "input"].map((name) => [name, name])),
};

/** The routes and errors of OpenAI's API, except for responses. */
export const openai: Dialect = {
  errorBody,
  parameterNames,
  routes: [
    {
      method: "POST",
      path: "/v1/chat/completions",
      endpoint: chatCompletions,
      parameterNames: { prompt: "messages" },
    },
    { method: "POST", path: "/v1/completions", endpoint: completions },
    { method: "POST", path: "/v1/embeddings", endpoint: embeddings },
    { method: "GET", path: "/v1/models", endpoint: listModels },
    { method: "GET", path: "/v1/models/:model", endpoint: showModel },
  ],
};
