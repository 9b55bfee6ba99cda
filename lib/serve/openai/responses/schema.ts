// Parameters of POST /v1/responses. Unsupported parameters that would change the answer are refused by name.
import { z } from "zod";
import { EFFORTS } from "../../../answers/effort.ts";
import { isObject } from "../../../core/is-object.ts";
import { flag, list, whole } from "../../../core/schema-parts.ts";
import { parameters } from "../../core/parameters.ts";
import { invalid, unsupported } from "../../http/http-error.ts";
import { samplingShape } from "../schema.ts";

// The Responses API renames `max_tokens`, has a single answer, and ignores `stream_options`.
const { max_tokens: _, n: __, stream_options: ___, ...sampling } = samplingShape;

const effort = z.enum(EFFORTS);
const summary = z.enum(["auto", "concise", "detailed"]);

const MAX_PAIRS = 16;
const metadata = z.custom<Record<string, string>>(
  (v) =>
    isObject(v) &&
    Object.keys(v).length <= MAX_PAIRS &&
    Object.entries(v).every(([key, text]) => key.length <= 64 && typeof text === "string" && text.length <= 512),
  `an object of at most ${MAX_PAIRS} strings of at most 512 characters each, with keys of at most 64 characters`,
);

/** Maximum number of tools of a request. */
export const MAX_TOOLS = 128;
const MAX_INCLUDED = 16;

const schema = z.looseObject({
  ...sampling,
  input: z.unknown().optional(),
  instructions: z.string({ error: "a string" }).optional(),
  previous_response_id: z.string({ error: "the id of a response" }).optional(),
  store: flag().optional(),
  metadata: metadata.optional(),
  tools: list<unknown>(MAX_TOOLS, "functions").optional(),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: flag().optional(),
  text: z.custom<Record<string, unknown>>(isObject, "an object").optional(),
  max_output_tokens: whole(1, 2 ** 31 - 1).optional(),
  top_logprobs: whole(0, 20).optional(),
  include: list<string>(MAX_INCLUDED, "texts", (v) => typeof v === "string").optional(),
  truncation: z.enum(["auto", "disabled"]).optional(),
  reasoning: z
    .looseObject(
      {
        effort: effort.nullish(),
        summary: summary.nullish(),
        generate_summary: summary.nullish(),
        max_tokens: whole(0, 2 ** 31 - 1).nullish(),
      },
      { error: "an object" },
    )
    .optional(),
  background: flag().optional(),
  chat_template_kwargs: z.custom<Record<string, unknown>>(isObject, "an object").optional(),
});

/** The checked parameters of a request. */
export type ResponseParameters = z.infer<typeof schema>;

/** Parameters that OpenAI's clients send and that have no effect here. */
const IGNORED = new Set([
  "user",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "prompt_cache_options",
  "stream_options",
  "max_tool_calls", // limits calls of hosted tools, and the server refuses such tools
]);

const UNSUPPORTED: Readonly<Record<string, string>> = {
  conversation: "is not supported: pass previous_response_id",
  prompt: "is not supported: pass input and instructions",
  context_management: "is not supported: pass truncation",
  messages: "is not supported: pass input",
  max_tokens: "is not supported: pass max_output_tokens",
  max_completion_tokens: "is not supported: pass max_output_tokens",
  response_format: "is not supported: pass text.format",
  reasoning_effort: "is not supported: pass reasoning.effort",
  logprobs: "is not supported: pass top_logprobs, and message.output_text.logprobs in include",
  n: "is not supported: a response is one answer",
  modalities: "is not supported: the model writes text",
  audio: "is not supported: the model writes text",
};

const LOGPROBS = "message.output_text.logprobs";
/** Accepted values of `include`. Reasoning is never encrypted: it is in the items as text. */
const INCLUDABLE = [LOGPROBS, "reasoning.encrypted_content"];

/** Returns a request's checked parameters. @throws Refusal 400 that names the first invalid parameter */
export function responseParameters(body: Readonly<Record<string, unknown>>): ResponseParameters {
  const given = parameters(schema, body, { ignored: IGNORED, unsupported: UNSUPPORTED });
  if (given.background) throw unsupported("background", "is not supported: pass stream");
  if (given.input === undefined && given.previous_response_id === undefined)
    throw invalid("input", "a string or an array of items", undefined);
  for (const [i, name] of (given.include ?? []).entries())
    if (!INCLUDABLE.includes(name))
      throw unsupported(`include[${i}]`, `${name.slice(0, 80)} is not supported: expected ${INCLUDABLE.join(" or ")}`);
  for (const name of Object.keys(given.reasoning ?? {}))
    if (!["effort", "summary", "generate_summary", "max_tokens"].includes(name) && given.reasoning![name] != null)
      throw unsupported(`reasoning.${name.slice(0, 80)}`, "is not supported");
  return given;
}

/** Whether the output has log-probabilities. */
export function includesLogprobs({ include, top_logprobs: top = 0 }: ResponseParameters): boolean {
  return top > 0 || (include ?? []).includes(LOGPROBS);
}
