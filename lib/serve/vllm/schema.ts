// Parameters of the endpoints that score texts and show tokens. They are named as in vLLM's server.
import { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import { flag, whole } from "../../core/schema-parts.ts";
import { MAX_TEXTS } from "../core/compute.ts";
import { type OtherParameters, parameters } from "../core/parameters.ts";

const text = z.string({ error: "a string" });
const isText = (value: unknown) => typeof value === "string";

/** Strings, or objects with a field `text` as some clients send them. */
const documents = z.custom<(string | { text: string })[]>(
  (v) =>
    Array.isArray(v) &&
    v.length > 0 &&
    v.length <= MAX_TEXTS &&
    v.every((one) => isText(one) || (isObject(one) && isText(one.text))),
  `an array of 1 to ${MAX_TEXTS} strings`,
);
const texts = z.custom<string | string[]>(
  (v) => isText(v) || (Array.isArray(v) && v.length > 0 && v.length <= MAX_TEXTS && v.every(isText)),
  `a string, or an array of 1 to ${MAX_TEXTS} strings`,
);

/** The parameters of rerank requests. */
export const rerankSchema = z.looseObject({
  model: text.optional(),
  query: text,
  documents,
  top_n: whole(1, 2 ** 31 - 1).optional(),
  return_documents: flag().optional(),
  label: text.optional(),
  truncation: flag().optional(),
});

/** The parameters of /v1/score. */
export const scoreSchema = z.looseObject({
  model: text.optional(),
  text_1: texts,
  text_2: texts,
  label: text.optional(),
  truncation: flag().optional(),
});

/** The parameters of /v1/classify. */
export const classifySchema = z.looseObject({
  model: text.optional(),
  input: z.unknown(),
  truncation: flag().optional(),
});

/** The parameters of /tokenize. */
export const tokenizeSchema = z.looseObject({
  model: text.optional(),
  prompt: text.optional(),
  messages: z.custom<unknown[]>(Array.isArray, "an array of messages").optional(),
  tools: z.custom<unknown[]>(Array.isArray, "an array of functions").optional(),
  chat_template_kwargs: z.custom<Record<string, unknown>>(isObject, "an object").optional(),
  add_special_tokens: flag().optional(),
  return_token_strs: flag().optional(),
  /** An extension of heddle. It decodes tokens, while `return_token_strs` spells them as the vocabulary does. */
  return_token_texts: flag().optional(),
});

/** The parameters of /detokenize. */
export const detokenizeSchema = z.looseObject({
  model: text.optional(),
  tokens: z.custom<number[]>(Array.isArray, "an array of token ids"),
});

const OTHERS: OtherParameters = {
  ignored: new Set(["user", "priority", "encoding_format"]),
  accepted: { add_generation_prompt: true, continue_final_message: false },
  unsupported: {
    max_tokens_per_doc: "is not supported: documents are cut to the model's context",
    max_chunks_per_doc: "is not supported: documents are cut to the model's context",
    rank_fields: "is not supported: pass strings",
    truncate_prompt_tokens: "is not supported: pass truncation",
    activation: "is not supported",
    queries: "is not supported: pass text_1",
    add_generation_prompt: "is not supported: the generation prompt is always added",
    continue_final_message: "is not supported",
    chat_template: "is not supported: the model's own is used",
  },
};

/** Returns a request's checked parameters. @throws Refusal 400 that names the first invalid parameter */
export function parsed<S extends z.ZodObject>(schema: S, body: Readonly<Record<string, unknown>>): z.infer<S> {
  return parameters(schema, body, OTHERS);
}
