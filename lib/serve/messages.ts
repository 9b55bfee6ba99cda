// Converts OpenAI's messages to those of chat templates.
import { z } from "zod";
import { isObject } from "../core/is-object.ts";
import { atOnce, type Slices } from "../core/slices.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { ChatMessage } from "../tokenizer/index.ts";
import { invalid, unsupported } from "./http-error.ts";
import { JSON_LIMITS, parseInSlices } from "./json-slices.ts";
import { issueRefusal } from "./schema.ts";

const MOST_MESSAGES = 4096;
const MOST_PARTS = 1024;

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
    .union([z.string(), z.array(z.unknown()).max(MOST_PARTS)], { error: "a text or an array of parts" })
    .nullish(),
  name: z.string().nullish(),
  tool_call_id: z.string().nullish(),
  tool_calls: z.array(z.unknown()).max(256).nullish(),
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
  if (value.length > MOST_MESSAGES) throw invalid("messages", `at most ${MOST_MESSAGES} messages`, value);
  const knowsDeveloper = Object.values(model.tokenizer?.config.chatTemplates ?? {}).some((t) =>
    t?.includes("developer"),
  );
  const messages: ChatMessage[] = [];
  for (const [i, one] of value.entries()) messages.push(yield* messageOf(one, `messages[${i}]`, knowsDeveloper));
  return messages;
}

function* messageOf(value: unknown, path: string, knowsDeveloper: boolean): Slices<ChatMessage> {
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
  const made: unknown[] = [];
  for (const [i, call] of (calls ?? []).entries()) made.push(yield* callOf(call, `${path}.tool_calls[${i}]`));
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

/** Converts a tool call. Its arguments come as a JSON string and become an object, which templates serialize themselves. */
function* callOf(value: unknown, path: string): Slices<object> {
  const parsed = toolCall.safeParse(value);
  if (!parsed.success) throw issueRefusal(parsed.error.issues[0]!, value, path);
  const { function: called, ...rest } = parsed.data;
  return { type: "function", ...rest, function: { ...called, arguments: yield* argumentsOf(called.arguments) } };
}

/** Parses the arguments of a tool call. A string that is not a JSON object, or exceeds the limits of a body, stays a string. */
function* argumentsOf(given: unknown): Slices<unknown> {
  if (typeof given !== "string") return given;
  try {
    const value = yield* parseInSlices(Buffer.from(given), JSON_LIMITS);
    return isObject(value) ? value : given;
  } catch {
    return given;
  }
}
