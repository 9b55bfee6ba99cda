// Ollama's API: its endpoints, parameter names and form of errors.
import type { Exchange } from "../core/context.ts";
import type { Dialect, Route } from "../core/routes.ts";
import { Refusal } from "../http/http-error.ts";
import { chat, generateText } from "./chat.ts";
import { embed, embeddings } from "./embed.ts";
import { listLoaded, listTags, showModel, showVersion } from "./models.ts";

const BASE = "/api/";

/** Returns a route that refuses all requests. In Ollama this endpoint changes the models on disk. */
function refused(method: Route["method"], name: string): Route {
  const path = BASE + name;
  const endpoint = (_: Exchange) => {
    throw new Refusal(501, `${path}: is not supported: the server's models are given when it starts`, {
      code: "unsupported",
    });
  };
  return { method, path, endpoint, computes: false };
}

/** The routes and errors of Ollama's API. */
export const ollama: Dialect = {
  errorBody: ({ message }: Refusal) => ({ error: message }),
  parameterNames: {
    maxTokens: "options.num_predict",
    temperature: "options.temperature",
    topK: "options.top_k",
    topP: "options.top_p",
    minP: "options.min_p",
    repetitionPenalty: "options.repeat_penalty",
    presencePenalty: "options.presence_penalty",
    frequencyPenalty: "options.frequency_penalty",
    seed: "options.seed",
    stop: "options.stop",
    topLogprobs: "top_logprobs",
    message: "messages",
    messages: "messages",
    tools: "tools",
    reasoning: "think",
    variables: "think",
    responseFormat: "format",
    schema: "format", // followed by a JSON pointer into the schema
  },
  routes: [
    { method: "POST", path: `${BASE}chat`, endpoint: chat },
    {
      method: "POST",
      path: `${BASE}generate`,
      endpoint: generateText,
      parameterNames: { message: "prompt", messages: "prompt" },
    },
    { method: "POST", path: `${BASE}embed`, endpoint: embed },
    { method: "POST", path: `${BASE}embeddings`, endpoint: embeddings },
    { method: "GET", path: `${BASE}tags`, endpoint: listTags },
    { method: "GET", path: `${BASE}ps`, endpoint: listLoaded },
    { method: "GET", path: `${BASE}version`, endpoint: showVersion },
    { method: "POST", path: `${BASE}show`, endpoint: showModel, computes: false },
    ...["pull", "push", "create", "copy"].map((name) => refused("POST", name)),
    refused("DELETE", "delete"),
  ],
  // Errors for unknown paths below /api/ are in Ollama's form.
  claims: ({ path }) => path.startsWith(BASE),
};
