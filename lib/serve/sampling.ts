// A request's parameters → options of generation.
import type { z } from "zod";
import { isObject } from "../core/is-object.ts";
import type { GenerateOptions, ResponseFormat } from "../language-model/index.ts";
import { invalid, Refusal } from "./http-error.ts";
import type { samplingShape } from "./schema.ts";

type Sampling = { [K in keyof typeof samplingShape]?: z.infer<(typeof samplingShape)[K]> };

/** @param limit tokens of an answer at most, whatever is asked for; `maxTokens`: what was asked for, else the default */
/**
 * The seed of a request. OpenAI allows negative seeds. They map to the upper end of the range, with -1 as 2^53 - 1, so that distinct seeds stay
 * distinct.
 */
function seedOf(given: number | undefined): number | undefined {
  return given === undefined || given >= 0 ? given : given + 2 ** 53;
}

export function generateOptions(
  given: Sampling,
  { maxTokens, limit, topLogprobs }: { maxTokens: number | undefined; limit: number | undefined; topLogprobs: number },
): GenerateOptions {
  return {
    maxTokens: limit === undefined ? maxTokens : Math.min(maxTokens ?? limit, limit),
    temperature: given.temperature,
    topP: given.top_p,
    // Some clients say "all" by -1.
    topK: given.top_k === -1 ? 0 : given.top_k,
    minP: given.min_p,
    n: given.n,
    stop: given.stop,
    seed: seedOf(given.seed),
    presencePenalty: given.presence_penalty,
    frequencyPenalty: given.frequency_penalty,
    repetitionPenalty: given.repetition_penalty,
    logitBias: given.logit_bias,
    ignoreEos: given.ignore_eos,
    topLogprobs,
    // The prompt has to fit; a most number of tokens is a bound, which an answer may stay below.
    contextOverflow: "stop",
  };
}

/** The form that an answer is to have. @throws Refusal 400 */
export function responseFormat(given: unknown): Partial<GenerateOptions> {
  if (given === undefined) return {};
  if (!isObject(given)) throw invalid("response_format", "an object with a type", given);
  const { type, ...rest } = given;
  if (type !== "text" && type !== "json_object" && type !== "json_schema")
    throw invalid("response_format.type", "text, json_object or json_schema", type);
  // Where it is missing, the library names the field that its own callers have.
  if (type === "json_schema" && (rest.json_schema ?? rest.jsonSchema ?? rest.schema) === undefined)
    throw invalid("response_format.json_schema", "an object with a schema", rest.json_schema);
  return { responseFormat: { type, ...rest } as ResponseFormat }; // which resolving the options checks
}

/** Whether usage comes with a stream. @throws Refusal 400 for options of a stream without one */
export function includesUsage({ stream, stream_options: options }: Sampling): boolean {
  if (options !== undefined && stream !== true)
    throw new Refusal(400, "stream_options: requires stream: true", {
      param: "stream_options",
      code: "invalid_value",
    });
  return options?.include_usage === true;
}
