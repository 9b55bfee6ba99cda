// Schemas of the parameters of Anthropic's Messages API. Unsupported parameters that would change the answer are refused by name.
import { z } from "zod";
import type { JsonSchema } from "../../constrain/index.ts";
import { isObject } from "../../core/is-object.ts";
import { flag, list, positive, real, text, whole } from "../../core/schema-parts.ts";
import { type OtherParameters, parameters } from "../core/parameters.ts";
import { stopTexts } from "../core/sampling-schema.ts";
import { Refusal } from "../http/http-error.ts";

const conversation = {
  model: text().optional(),
  messages: z.custom<unknown[]>(Array.isArray, "an array of messages"),
  system: z
    .custom<string | unknown[]>((v) => typeof v === "string" || Array.isArray(v), "a text or an array of blocks")
    .optional(),
  tools: list<unknown>(128, "tools").optional(),
  tool_choice: z
    .looseObject(
      {
        type: z.enum(["auto", "any", "tool", "none"]),
        name: text().optional(),
        disable_parallel_tool_use: flag().nullish(),
      },
      { error: "an object with a type" },
    )
    .optional(),
  thinking: z
    .looseObject(
      {
        type: z.enum(["enabled", "disabled", "adaptive"]),
        budget_tokens: whole(1, 2 ** 31 - 1).optional(),
        display: z.enum(["summarized"]).nullish(),
      },
      { error: "an object with a type" },
    )
    .optional(),
  output_config: z
    .strictObject(
      {
        effort: z.enum(["low", "medium", "high", "xhigh", "max"]).nullish(),
        format: z
          .strictObject({ type: z.literal("json_schema"), schema: z.custom<JsonSchema>(isObject, "an object") })
          .nullish(),
      },
      { error: "an object with effort or format" },
    )
    .optional(),
};

/** The parameters of a message. */
export const messageSchema = z.looseObject({
  ...conversation,
  max_tokens: whole(1, 2 ** 31 - 1),
  stop_sequences: stopTexts(64).optional(),
  stream: flag().optional(),
  temperature: real(0, 1).optional(),
  top_p: positive(1).optional(),
  top_k: whole(0, 2 ** 30).optional(),
});

/** The parameters of a token count. */
export const countSchema = z.looseObject(conversation);

/** The parameters of messages and of token counts: the conversation, its tools and its settings. */
export type Conversation = z.infer<typeof countSchema>;

const OTHERS: OtherParameters = {
  ignored: new Set(["metadata", "service_tier", "cache_control", "betas"]),
  unsupported: {
    container: "is not supported: the server runs no code",
    mcp_servers: "is not supported: connect to the servers in the client, and pass their tools",
    context_management: "is not supported: send the messages that the model should see",
    output_format: "is not supported: pass output_config.format",
    inference_geo: "is not supported",
    speed: "is not supported",
    diagnostics: "is not supported",
    fallbacks: "is not supported",
  },
};

/** Anthropic's code for requests that need a conversation on the server. */
export const THREAD_UNSUPPORTED = "thread_unsupported_request";

/** Returns a request's checked parameters. @throws Refusal 400 that names the first invalid parameter */
export function parsed<S extends z.ZodObject>(schema: S, body: Readonly<Record<string, unknown>>): z.infer<S> {
  // Clients know this code, and continue by sending the whole conversation.
  if (body.thread != null)
    throw new Refusal(400, "thread: is not supported: send the whole conversation without it", {
      param: "thread",
      code: THREAD_UNSUPPORTED,
    });
  return parameters(schema, body, OTHERS);
}
