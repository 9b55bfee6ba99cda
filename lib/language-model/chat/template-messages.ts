// Converts messages to the fields that a chat template reads. Templates differ in where they expect reasoning and how they print arguments.
import type { CallShape } from "../../answers/format.ts";
import { type WrittenCall, writeCalls } from "../../answers/write-calls.ts";
import { isObject } from "../../core/is-object.ts";
import type { Slices } from "../../core/slices.ts";
import { JSON_LIMITS, parseInSlices } from "../../io/json-slices.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";

/**
 * Fields of a message that may hold reasoning. They belong to most templates, gpt-oss, newer APIs and Command R7B, in
 * this order. If several are set, the first one is used.
 */
const REASONING = ["reasoning_content", "thinking", "reasoning", "tool_plan"] as const;

/** A test in a template for null content. */
const CONTENT_IS_NONE = /['.]content(?:['"]\])? is none/;
/** An expression in a template that measures the content. */
const CONTENT_LENGTH = /['.]content(?:['"]\])?\s*\|\s*length/;
/** A test in a template for content blocks with reasoning. */
const THINKING_BLOCK = /(?:\.type|\[['"]type['"]\])\s*==\s*['"]thinking['"]/;
/** A field for reasoning in a message, not in a block. */
const THINKING_FIELD = /\b(?:message|msg|m)(?:\.|\[['"])(?:reasoning_content|reasoning|thinking)\b/;

/** The form of messages that a template expects. */
interface Expected {
  reasoning: readonly string[];
  /** Whether reasoning is a block of the content, before a block with the text (Ministral 3). */
  reasoningBlocks: boolean;
  /** Whether a message with calls may have either reasoning or text (gpt-oss). The template writes both as reasoning. */
  oneOfBoth: boolean;
  /** Whether arguments are strings, because the template joins them with other text. */
  arguments: "string" | "object";
  /** Whether a message with calls must have null instead of an empty text. */
  nullContent: boolean;
  /** The exact length of a call's id, if the template checks it. */
  idLength: number | undefined;
}

function expectedBy(template: string): Expected {
  // Matches arguments that a template concatenates with other text by `+`.
  const joins = /\+\s*\w+(?:\[['"]function['"]\]|\.function)?(?:\[['"]arguments['"]\]|\.arguments)\s*(?:\+|[-%}])/;
  return {
    reasoning: REASONING.filter((name) => new RegExp(`\\.${name}\\b|['"]${name}['"]`).test(template)),
    oneOfBoth: template.includes("message.content and message.thinking"),
    reasoningBlocks: THINKING_BLOCK.test(template) && !THINKING_FIELD.test(template),
    arguments: joins.test(template) && !/arguments is (?:not )?(?:string|mapping)/.test(template) ? "string" : "object",
    // A template that measures the content fails for null.
    nullContent: CONTENT_IS_NONE.test(template) && !CONTENT_LENGTH.test(template),
    idLength: /id\s*\|\s*length\s*(?:!=|<)\s*9\b/.test(template) ? 9 : undefined,
  };
}

/**
 * Returns the messages as a template expects them: reasoning in the field that it reads, and arguments of calls as
 * objects or strings. Call ids have the expected length, and each tool result has the id of its call. It yields
 * regularly.
 * @param shape how the model writes calls; if the template does not read `tool_calls` (as Granite 3's), calls become
 * part of the text
 */
export function* templateMessages(
  messages: readonly ChatMessage[],
  template: string,
  shape?: CallShape,
): Slices<ChatMessage[]> {
  if (!messages.some(({ role, tool_calls: calls, ...rest }) => calls || role === "tool" || reasoningOf(rest)))
    return [...messages];
  const expected = expectedBy(template);
  const written = template.includes("tool_calls") ? undefined : shape;
  /** Ids of the calls that have no result yet. */
  let open: string[] = [];
  const all: ChatMessage[] = [];
  for (const message of messages) {
    yield;
    if (message.role === "tool") {
      const id = typeof message.tool_call_id === "string" ? message.tool_call_id : open[0];
      open = open.filter((one) => one !== id);
      all.push(id === undefined ? message : { ...message, tool_call_id: idOf(id, expected) });
      continue;
    }
    const { tool_calls: given, ...rest } = message;
    const calls = Array.isArray(given) ? yield* callsFor(given, expected) : undefined;
    open = (Array.isArray(given) ? given : []).flatMap((call) =>
      isObject(call) && typeof call.id === "string" ? [call.id] : [],
    );
    const out = withReasoning(rest as ChatMessage, expected);
    if (written && calls?.length) {
      all.push({
        ...out,
        content: [message.content, writeCalls(written, calls.flatMap(namedCall))].filter(Boolean).join("\n"),
      });
      continue;
    }
    if (calls && expected.oneOfBoth && out.content && out.thinking)
      Object.assign(out, { thinking: `${out.thinking}\n\n${out.content}`, content: "" });
    const content = expected.nullContent && out.content === "" ? null : out.content;
    all.push(
      calls ? { ...out, content, tool_calls: calls } : given === undefined ? out : { ...out, tool_calls: given },
    );
  }
  return all;
}

/**
 * Returns the tools as a template expects them. If it joins descriptions with other text, functions and parameters without a description
 * get an empty one.
 */
export function templateTools(tools: readonly unknown[], template: string): readonly unknown[] {
  if (!/\+\s*\w+(?:\.function)?\.description\b/.test(template)) return tools;
  const described = (value: unknown) => (isObject(value) ? { description: "", ...value } : value);
  return tools.map((tool) => {
    if (!isObject(tool) || !isObject(tool.function)) return tool;
    const { parameters } = tool.function;
    if (!isObject(parameters) || !isObject(parameters.properties))
      return { ...tool, function: described(tool.function) };
    const entries = Object.entries(parameters.properties).map(([name, schema]) => [name, described(schema)]);
    const properties = Object.fromEntries(entries);
    return { ...tool, function: { description: "", ...tool.function, parameters: { ...parameters, properties } } };
  });
}

function reasoningOf(message: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of REASONING) if (typeof message[name] === "string") return message[name];
  return undefined;
}

function withReasoning(message: ChatMessage, { reasoning, reasoningBlocks }: Expected): ChatMessage {
  const text = message.role === "assistant" ? reasoningOf(message) : undefined;
  if (text === undefined) return message;
  const others = Object.entries(message).filter(([name]) => !(REASONING as readonly string[]).includes(name));
  const out = Object.fromEntries(others) as ChatMessage;
  if (reasoningBlocks) {
    const said = message.content ? [{ type: "text", text: message.content }] : [];
    return { ...out, content: [{ type: "thinking", thinking: text }, ...said] };
  }
  return { ...out, ...Object.fromEntries(reasoning.map((name) => [name, text])) };
}

function namedCall(call: unknown): WrittenCall[] {
  const called = isObject(call) && isObject(call.function) ? call.function : undefined;
  return typeof called?.name === "string" ? [{ name: called.name, arguments: called.arguments }] : [];
}

function* callsFor(calls: readonly unknown[], expected: Expected): Slices<unknown[]> {
  const all: unknown[] = [];
  for (const [i, call] of calls.entries()) {
    all.push(yield* callFor(call, i, expected));
    yield;
  }
  return all;
}

function* callFor(call: unknown, index: number, expected: Expected): Slices<unknown> {
  if (!isObject(call)) return call;
  const { id } = call;
  const ids =
    typeof id === "string" ? { id: idOf(id, expected) } : expected.idLength ? { id: idOf(`${index}`, expected) } : {};
  if (!isObject(call.function)) return { ...call, ...ids };
  return {
    ...call,
    ...ids,
    function: { ...call.function, arguments: yield* argumentsFor(call.function.arguments, expected) },
  };
}

/**
 * Converts the arguments of a call. A string stays a string if it exceeds the limits or is not a JSON object, as in a
 * call that was cut.
 */
function* argumentsFor(given: unknown, { arguments: form }: Expected): Slices<unknown> {
  if (form === "string") return typeof given === "string" || given === undefined ? given : JSON.stringify(given);
  if (typeof given !== "string") return given;
  try {
    const value = yield* parseInSlices(Buffer.from(given), JSON_LIMITS);
    return isObject(value) ? value : given;
  } catch {
    return given;
  }
}

/** Returns an id of the length that the template expects. It keeps the end of `id`, which differs between calls. */
function idOf(id: string, { idLength }: Expected): string {
  if (idLength === undefined || (id.length === idLength && /^[a-zA-Z0-9]*$/.test(id))) return id;
  return id
    .replace(/[^a-zA-Z0-9]/g, "")
    .padStart(idLength, "0")
    .slice(-idLength);
}
