// Converts messages of Ollama's API to those of the core, which are in the form of OpenAI's chat completions.
import { isObject } from "../../core/is-object.ts";
import type { Slices } from "../../core/slices.ts";
import { invalid, unsupported } from "../http/http-error.ts";

/** A message of the core. */
interface Message {
  role: string;
  content: string;
  reasoning_content?: string;
  tool_calls?: object[];
  tool_call_id?: string;
  name?: string;
}

const ROLES: readonly unknown[] = ["system", "user", "assistant", "tool"];

/** Converts messages. @throws Refusal 400 for the first message that is invalid or not supported */
export function* convertedMessages(given: readonly unknown[]): Slices<Message[]> {
  const messages: Message[] = [];
  for (const [i, message] of given.entries()) {
    messages.push(converted(message, `messages[${i}]`));
    yield;
  }
  return messages;
}

function converted(given: unknown, at: string): Message {
  if (!isObject(given)) throw invalid(at, "a message with role and content", given);
  const { role, content, thinking, images, tool_calls: calls, tool_name: name, tool_call_id: id } = given;
  if (typeof role !== "string" || !ROLES.includes(role)) throw invalid(`${at}.role`, ROLES.join(", "), role);
  if (Array.isArray(images) && images.length > 0)
    throw unsupported(`${at}.images`, "is not supported: the model reads text");
  const text = optionalText(content, `${at}.content`);
  const reasoning = optionalText(thinking, `${at}.thinking`);
  const named = optionalText(name ?? given.name, `${at}.tool_name`);
  const called = optionalText(id, `${at}.tool_call_id`);
  if (calls != null && !Array.isArray(calls)) throw invalid(`${at}.tool_calls`, "an array of calls", calls);
  return {
    role,
    content: text ?? "",
    ...(reasoning && { reasoning_content: reasoning }),
    ...(calls && calls.length > 0 && { tool_calls: calls.map((call, i) => callOf(call, `${at}.tool_calls[${i}]`)) }),
    ...(named !== undefined && { name: named }),
    ...(called !== undefined && { tool_call_id: called }),
  };
}

function optionalText(value: unknown, at: string): string | undefined {
  if (value == null) return undefined;
  if (typeof value !== "string") throw invalid(at, "a text", value);
  return value;
}

function callOf(call: unknown, at: string): object {
  const called = isObject(call) ? call.function : undefined;
  if (!isObject(called)) throw invalid(`${at}.function`, "an object with name and arguments", called);
  const { name, arguments: given = {} } = called;
  if (typeof name !== "string" || name === "") throw invalid(`${at}.function.name`, "a text", name);
  if (!isObject(given)) throw invalid(`${at}.function.arguments`, "an object", given);
  const id = optionalText((call as { id?: unknown }).id, `${at}.id`);
  return { ...(id !== undefined && { id }), function: { name, arguments: given } };
}
