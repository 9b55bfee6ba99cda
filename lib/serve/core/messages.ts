// Converts messages in the form of OpenAI's chat completions to those of chat templates.
import { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import { isList, list } from "../../core/schema-parts.ts";
import { atOnce, type Slices } from "../../core/slices.ts";
import type { LanguageModel } from "../../language-model/index.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";
import { invalid, Refusal, unsupported } from "../http/http-error.ts";
import { issueRefusal } from "./parameters.ts";

/** Maximum number of messages of a request. */
export const MAX_MESSAGES = 4096;
const MAX_PARTS = 1024;
/** Maximum number of fields of a message. Templates read fields beyond those of the API. */
const MAX_FIELDS = 256;

const toolCall = z.looseObject({
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.looseObject({
    name: z.string().min(1),
    arguments: z.union([z.string(), z.custom<object>(isObject)], { error: "a text or an object" }),
  }),
});

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z
    .custom<string | unknown[]>((v) => typeof v === "string" || isList(v, MAX_PARTS), "a text or an array of parts")
    .nullish(),
  name: z.string().nullish(),
  tool_call_id: z.string().nullish(),
  tool_calls: list(256, "calls").nullish(),
});

const textPart = z.looseObject({
  type: z.enum(["text", "refusal"]),
  text: z.string().optional(),
  refusal: z.string().optional(),
});

/** Fields of OpenAI's API that templates do not get. `audio` and `function_call` are refused unless they are null. */
const API_ONLY_FIELDS = ["audio", "refusal", "annotations", "function_call"];

/** Checks and converts messages. @throws Refusal 400 for the first invalid message */
export function messagesOf(value: unknown, model: LanguageModel): ChatMessage[] {
  return atOnce(messagesInSlices(value, model));
}

/** Like messagesOf, in slices. */
export function* messagesInSlices(value: unknown, model: LanguageModel): Slices<ChatMessage[]> {
  if (!Array.isArray(value) || value.length === 0) throw invalid("messages", "an array of at least one message", value);
  if (value.length > MAX_MESSAGES) throw invalid("messages", `at most ${MAX_MESSAGES} messages`, value);
  const knowsDeveloper = Object.values(model.tokenizer?.config.chatTemplates ?? {}).some((t) =>
    t?.includes("developer"),
  );
  const messages: ChatMessage[] = [];
  for (const [i, one] of value.entries()) messages.push(yield* messageOf(one, `messages[${i}]`, knowsDeveloper));
  return messages;
}

function* messageOf(value: unknown, path: string, knowsDeveloper: boolean): Slices<ChatMessage> {
  if (isObject(value) && Object.keys(value).length > MAX_FIELDS)
    throw new Refusal(400, `${path}: expected at most ${MAX_FIELDS} fields, got more`, {
      param: path,
      code: "invalid_value",
    });
  const parsed = message.safeParse(value);
  if (!parsed.success) throw issueRefusal(parsed.error.issues[0]!, value, path);
  const { role, content, tool_calls: calls, ...rest } = parsed.data;
  // An assistant message may consist of tool calls only.
  if (content == null && role !== "assistant") throw invalid(`${path}.content`, "a text or an array of parts", content);
  const fields = Object.entries(rest).filter(([name, field]) => field != null && !API_ONLY_FIELDS.includes(name));
  for (const name of ["audio", "function_call"])
    if (rest[name] != null) throw unsupported(`${path}.${name}`, "is not supported");
  // Null becomes "", because templates would print None.
  const text = Array.isArray(content) ? yield* textOf(content, `${path}.content`) : (content ?? "");
  const made = (calls ?? []).map((call, i) => callOf(call, `${path}.tool_calls[${i}]`));
  yield;
  return {
    ...Object.fromEntries(fields),
    role: role === "function" ? "tool" : role === "developer" && !knowsDeveloper ? "system" : role,
    content: text,
    ...(made.length > 0 && { tool_calls: made }),
  };
}

/** Joins the texts of a message's parts, one per line, like other servers. */
function* textOf(parts: readonly unknown[], path: string): Slices<string> {
  const texts: string[] = [];
  for (const [i, part] of parts.entries()) {
    const type = (part as { type?: unknown } | null)?.type;
    if (typeof type === "string" && /^(image|input|video|file)/.test(type))
      throw unsupported(`${path}[${i}].type`, `${type.slice(0, 40)} is not supported: the model reads text`);
    const parsed = textPart.safeParse(part);
    if (!parsed.success) throw issueRefusal(parsed.error.issues[0]!, part, `${path}[${i}]`);
    const text = parsed.data.text ?? parsed.data.refusal;
    if (text === undefined) throw invalid(`${path}[${i}].text`, "a text", text);
    texts.push(text);
    yield;
  }
  return texts.join("\n");
}

/** Checks a tool call. Its arguments stay as given: the code that renders the chat template converts them as the template expects. */
function callOf(value: unknown, path: string): object {
  const parsed = toolCall.safeParse(value);
  if (!parsed.success) throw issueRefusal(parsed.error.issues[0]!, value, path);
  return { type: "function", ...parsed.data };
}
