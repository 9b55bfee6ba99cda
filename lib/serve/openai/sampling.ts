// Converts request parameters to generation options.
import type { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import { wrappedSeed } from "../../inference/negative-seed.ts";
import type { GenerateOptions, ResponseFormat } from "../../language-model/index.ts";
import { invalid, Refusal } from "../http/http-error.ts";
import type { samplingShape } from "./schema.ts";

type Sampling = { [K in keyof typeof samplingShape]?: z.infer<(typeof samplingShape)[K]> };

/**
 * Converts sampling parameters.
 * @param tokens.maxTokens the requested maximum number of tokens, or the endpoint's default
 * @param tokens.limit the server's maximum
 */
export function generateOptions(
  given: Sampling,
  { maxTokens, limit, topLogprobs }: { maxTokens: number | undefined; limit: number | undefined; topLogprobs: number },
): GenerateOptions {
  return {
    maxTokens: limit === undefined ? maxTokens : Math.min(maxTokens ?? limit, limit),
    temperature: given.temperature,
    topP: given.top_p,
    // Some clients use -1 for "all".
    topK: given.top_k === -1 ? 0 : given.top_k,
    minP: given.min_p,
    n: given.n,
    stop: given.stop,
    seed: wrappedSeed(given.seed),
    presencePenalty: given.presence_penalty,
    frequencyPenalty: given.frequency_penalty,
    repetitionPenalty: given.repetition_penalty,
    logitBias: given.logit_bias,
    ignoreEos: given.ignore_eos,
    topLogprobs,
    // Only the prompt must fit the context. The answer may end before it has the maximum number of tokens.
    contextOverflow: "stop",
  };
}

/** Returns the option for the response format. @throws Refusal 400 */
export function responseFormat(given: unknown): Partial<GenerateOptions> {
  if (given === undefined) return {};
  if (!isObject(given)) throw invalid("response_format", "an object with a type", given);
  const { type, ...rest } = given;
  if (type !== "text" && type !== "json_object" && type !== "json_schema")
    throw invalid("response_format.type", "text, json_object or json_schema", type);
  // Check the schema here, because the library's message would name the library's field.
  if (type === "json_schema" && (rest.json_schema ?? rest.jsonSchema ?? rest.schema) === undefined)
    throw invalid("response_format.json_schema", "an object with a schema", rest.json_schema);
  return { responseFormat: { type, ...rest } as ResponseFormat }; // the library checks the rest
}

/** Whether a stream reports the usage. @throws Refusal 400 for stream_options without a stream */
export function includesUsage({ stream, stream_options: options }: Sampling): boolean {
  if (options !== undefined && stream !== true)
    throw new Refusal(400, "stream_options: requires stream: true", {
      param: "stream_options",
      code: "invalid_value",
    });
  return options?.include_usage === true;
}
