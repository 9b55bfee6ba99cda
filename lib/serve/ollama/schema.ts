// Schemas of the parameters of Ollama's API. Unsupported parameters that would change the answer are refused by name.
import { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import { flag, positive, real, text, whole } from "../../core/schema-parts.ts";
import { parameters } from "../core/parameters.ts";
import { seed, stopTextOrTexts } from "../core/sampling-schema.ts";
import { isTool } from "../core/tool-use.ts";

const empty = (expected: string) =>
  z.custom<unknown>((v) => v === "" || (Array.isArray(v) && v.length === 0), expected).optional();

const common = {
  model: text().optional(),
  options: z.custom<Record<string, unknown>>(isObject, "an object").optional(),
  keep_alive: z.union([z.string(), z.number()], { error: "a duration, such as 300 or 5m" }).optional(),
};

const generating = {
  ...common,
  stream: flag().optional(),
  format: z
    .custom<"" | "json" | Record<string, unknown>>(
      (v) => v === "" || v === "json" || isObject(v),
      '"json" or a JSON schema',
    )
    .optional(),
  think: z
    .union([z.boolean(), z.enum(["low", "medium", "high"])], { error: "true, false, low, medium or high" })
    .optional(),
  logprobs: flag().optional(),
  top_logprobs: whole(0, 20).optional(),
};

/** The parameters of /api/chat. */
export const chatSchema = z.looseObject({
  ...generating,
  messages: z.custom<unknown[]>(Array.isArray, "an array of messages").optional(),
  tools: z
    .custom<unknown[]>(
      (v) => Array.isArray(v) && v.length <= 128 && v.every(isTool),
      "at most 128 functions: {type, function: {name, …}}",
    )
    .optional(),
});

/** The parameters of /api/generate. */
export const generateSchema = z.looseObject({
  ...generating,
  prompt: text().optional(),
  system: text().optional(),
  raw: flag().optional(),
  suffix: text().optional(),
  template: empty("none, because the model's own chat template applies (raw: true sends the prompt as it is)"),
  context: empty("none: send the conversation to /api/chat"),
  images: empty("none, because the model reads text"),
});

/** The parameters of /api/embed. */
export const embedSchema = z.looseObject({
  ...common,
  input: z.unknown().optional(),
  truncate: flag().optional(),
  dimensions: whole(1, 2 ** 31 - 1).optional(),
});

/** The parameters of /api/embeddings. */
export const embeddingsSchema = z.looseObject({ ...common, prompt: text().optional() });

/** The older `name` is the same as `model`. */
export const showSchema = z.looseObject({
  model: text().optional(),
  name: text().optional(),
  verbose: flag().optional(),
});

/** Parameters that /api/chat and /api/generate share. */
export type Generating = z.infer<z.ZodObject<typeof generating>>;

const UNSUPPORTED: Readonly<Record<string, string>> = {
  truncate: "is not supported: send a conversation that fits the context",
  shift: "is not supported: the answer ends when the context is full",
  width: "is not supported: the model writes text",
  height: "is not supported: the model writes text",
  steps: "is not supported: the model writes text",
  system: "is not supported by this endpoint",
  template: "is not supported: the model's own chat template applies",
};

/** Returns a request's checked parameters. @throws Refusal 400 that names the first invalid parameter */
export function parsed<S extends z.ZodObject>(schema: S, body: Readonly<Record<string, unknown>>): z.infer<S> {
  return parameters(schema, body, { ignored: new Set(), unsupported: UNSUPPORTED });
}

const only = <T extends number | boolean>(value: T, why: string) =>
  z.custom<T>((v) => v === value, `${value}, because ${why} is not supported`).optional();

const optionSchema = z.looseObject({
  num_predict: whole(-2, 2 ** 31 - 1).optional(),
  temperature: real(0, 100).optional(),
  top_k: whole(0, 2 ** 30).optional(),
  top_p: positive(1).optional(),
  min_p: real(0, 1).optional(),
  seed: seed.optional(),
  stop: stopTextOrTexts(64).optional(),
  repeat_penalty: real(0.01, 100).optional(),
  repeat_last_n: z
    .custom<-1 | 0>((v) => v === -1 || v === 0, "-1 for the whole context, or 0 for no penalty")
    .optional(),
  presence_penalty: real(-2, 2).optional(),
  frequency_penalty: real(-2, 2).optional(),
  num_ctx: whole(1, 2 ** 31 - 1).optional(),
  mirostat: only(0, "Mirostat"),
  tfs_z: only(1, "tail-free sampling"),
  typical_p: only(1, "typical sampling"),
  penalize_newline: only(true, "exempting line breaks from the penalty"),
});

/** Ignored options. They set how Ollama runs a model, or belong to Mirostat and context shifting, which the server does not have. */
const WITHOUT_EFFECT = new Set([
  ...[
    "numa",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mmap",
    "use_mlock",
  ],
  ...["embedding_only", "num_thread", "num_keep", "mirostat_tau", "mirostat_eta"],
]);

/** Returns a request's checked `options`. @throws Refusal 400 that names the first invalid one */
export function parsedOptions(given: Readonly<Record<string, unknown>> = {}): z.infer<typeof optionSchema> {
  return parameters(optionSchema, given, { ignored: WITHOUT_EFFECT, unsupported: {}, objectName: "options" });
}
