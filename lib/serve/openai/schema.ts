// Schemas of request parameters. Unsupported parameters that would change the answer are refused by name.
import { z } from "zod";
import { EFFORTS } from "../../answers/effort.ts";
import { isObject } from "../../core/is-object.ts";
import { flag, list, positive, real, text, whole } from "../../core/schema-parts.ts";
import { isTokenId } from "../../inference/logit-bias.ts";
import { parameters } from "../core/parameters.ts";
import { seed, stopTextOrTexts } from "../core/sampling-schema.ts";
import { isTool } from "../core/tool-use.ts";

const topP = positive(1);

const MAX_BIASES = 1024;
const isBias = (v: unknown) => typeof v === "number" && v >= -100 && v <= 100;
const logitBias = z.custom<Record<string, number>>(
  (v) =>
    isObject(v) &&
    Object.keys(v).length <= MAX_BIASES &&
    Object.entries(v).every(([id, bias]) => /^\d{1,10}$/.test(id) && isBias(bias)),
  `an object of at most ${MAX_BIASES} token ids with numbers of -100 to 100`,
);

/** Parameters of all requests that generate text. */
export const samplingShape = {
  model: text().optional(),
  max_tokens: whole(0, 2 ** 31 - 1).optional(),
  temperature: real(0, 100).optional(),
  top_p: topP.optional(),
  top_k: whole(-1, 2 ** 30).optional(),
  min_p: real(0, 1).optional(),
  n: whole(1, 1024).optional(),
  stop: stopTextOrTexts(4).optional(),
  seed: seed.optional(),
  presence_penalty: real(-2, 2).optional(),
  frequency_penalty: real(-2, 2).optional(),
  repetition_penalty: real(0.01, 100).optional(),
  logit_bias: logitBias.optional(),
  ignore_eos: flag().optional(),
  stream: flag().optional(),
  stream_options: z.looseObject({ include_usage: flag().nullish() }, { error: "an object" }).optional(),
};

/** The parameters of /v1/chat/completions. */
export const chatSchema = z.looseObject({
  ...samplingShape,
  messages: z.custom<unknown[]>(Array.isArray, "an array of messages"),
  max_tokens: whole(1, 2 ** 31 - 1).optional(),
  max_completion_tokens: whole(1, 2 ** 31 - 1).optional(),
  tools: z
    .custom<unknown[]>(
      (v) => Array.isArray(v) && v.length <= 128 && v.every(isTool),
      "at most 128 functions: {type, function: {name, …}}",
    )
    .optional(),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: flag().optional(),
  logprobs: flag().optional(),
  top_logprobs: whole(0, 20).optional(),
  // Extensions for pages that show tokens: ids and entropies in log-probabilities, and an answer that begins with given
  // tokens.
  return_token_ids: flag().optional(),
  return_entropy: flag().optional(),
  continue_token_ids: list<number>(1 << 20, "token ids", (v) => isTokenId(v, 2 ** 31)).optional(),
  reasoning_effort: z.enum(EFFORTS).optional(),
  reasoning: z.strictObject({ max_tokens: whole(0, 2 ** 31 - 1).nullish() }, { error: "{ max_tokens }" }).optional(),
  chat_template_kwargs: z.custom<Record<string, unknown>>(isObject, "an object").optional(),
  response_format: z.unknown().optional(),
});

/** The parameters of /v1/completions. */
export const completionSchema = z.looseObject({
  ...samplingShape,
  prompt: z.unknown().optional(),
  echo: flag().optional(),
  logprobs: whole(0, 20).optional(),
  best_of: z.unknown().optional(),
  suffix: z.unknown().optional(),
  response_format: z.unknown().optional(),
});

/** The parameters of /v1/embeddings. */
export const embeddingSchema = z.looseObject({
  model: text().optional(),
  input: z.unknown().optional(),
  dimensions: whole(1, 2 ** 31 - 1).optional(),
  encoding_format: z.enum(["float", "base64"]).optional(),
  truncation: flag().optional(),
});

/** Parameters that OpenAI's clients send and that have no effect here. */
const IGNORED = new Set([
  "user",
  "store",
  "metadata",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "prediction",
]);

/** Parameters that are refused, with messages that name the alternative, if any. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  functions: "is not supported: pass tools",
  function_call: "is not supported: pass tool_choice",
  audio: "is not supported: the model writes text",
  modalities: "is not supported: the model writes text",
  verbosity: "is not supported",
  web_search_options: "is not supported",
  min_tokens: "is not supported",
  stop_token_ids: "is not supported: pass stop",
  guided_json: "is not supported",
  guided_regex: "is not supported",
  guided_choice: "is not supported",
  guided_grammar: "is not supported",
  grammar: "is not supported",
  use_beam_search: "is not supported",
  length_penalty: "is not supported",
  typical_p: "is not supported",
};

/** Returns a request's checked parameters. @throws Refusal 400 that names the first invalid parameter */
export function parsed<S extends z.ZodObject>(schema: S, body: Readonly<Record<string, unknown>>): z.infer<S> {
  const { modalities } = body;
  const isText = Array.isArray(modalities) && modalities.length === 1 && modalities[0] === "text";
  return parameters(schema, body, {
    ignored: isText ? new Set([...IGNORED, "modalities"]) : IGNORED,
    accepted: { verbosity: "medium" },
    unsupported: UNSUPPORTED,
  });
}
