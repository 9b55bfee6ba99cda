import { type CallFormatName, callFormatOf, chooseCallFormat } from "../../answers/call-formats.ts";
import { describe, HeddleError, invalidArgument, withoutTokenizer } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { atOnce, inSlices, type Slices } from "../../core/slices.ts";
import { overflow } from "../../inference/sequence.ts";
import { setOwn } from "../../io/json-slices.ts";
import { familyOf } from "../../models/registry.ts";
import { chooseTemplate } from "../../tokenizer/chat/chat.ts";
import type { ChatMessage, ChatTemplateOptions, Tokenizer } from "../../tokenizer/index.ts";
import type { LanguageModel } from "../language-model.ts";
import { templateMessages, templateTools } from "./template-messages.ts";

/** Inputs of a chat template besides the messages. */
export type ChatTemplate = Omit<ChatTemplateOptions, "addGenerationPrompt">;

/** A message with only a role and text. It can be rendered without a template. */
export type TextMessage = { role: "system" | "user" | "assistant"; content: string };

const isArray = (value: unknown) => Array.isArray(value);

/** The expected value of each option. The record type makes the compiler report missing options. */
const TEMPLATE: Readonly<Record<keyof ChatTemplate, readonly [expected: string, holds: (value: unknown) => boolean]>> =
  {
    tools: ["an array", isArray],
    documents: ["an array", isArray],
    template: ["a string", (value) => typeof value === "string"],
    variables: ["an object", isObject],
  };
/** The option names of `ChatTemplate`. */
export const chatTemplateNames = Object.keys(TEMPLATE) as (keyof ChatTemplate)[];

/** The tokenizer and template of a conversation. */
export interface Renderer {
  tokenizer: Tokenizer;
  template: ChatTemplate;
  /** The formats of tool calls of the model's family. */
  callsOfFamily: readonly CallFormatName[];
}

/** The model whose conversation is rendered. LanguageModel implements it. */
interface RenderingModel {
  readonly tokenizer?: Tokenizer | undefined;
  readonly config: { readonly modelType: string };
}

/** Whether messages are rendered by a template. Otherwise they are a plain transcript for a base model. */
function usesTemplate({ tokenizer, template }: Pick<Renderer, "tokenizer" | "template">): boolean {
  return template.template !== undefined || tokenizer.hasChatTemplate;
}

/**
 * Checks and copies the template's inputs.
 * @throws HeddleError INVALID_ARGUMENT, also for inputs of a model without a chat template
 */
export function checkedRenderer(model: RenderingModel, given: ChatTemplate): Renderer {
  return atOnce(rendererInSlices(model, given));
}

/** Like checkedRenderer, in slices. */
export function* rendererInSlices({ tokenizer, config }: RenderingModel, given: ChatTemplate): Slices<Renderer> {
  if (!tokenizer) throw withoutTokenizer("chat");
  const template: Record<string, unknown> = {};
  for (const name of chatTemplateNames) {
    const value: unknown = given[name];
    if (value === undefined) continue;
    const [expected, holds] = TEMPLATE[name];
    if (!holds(value)) throw invalidArgument(name, expected, value);
    template[name] = yield* copied(name, value);
  }
  const renderer: Renderer = { tokenizer, template, callsOfFamily: familyOf(config.modelType).calls ?? [] };
  // Empty variables need no template.
  const isUsed = (name: string) => name !== "variables" || Object.keys(template.variables as object).length > 0;
  const first = Object.keys(template).find(isUsed);
  if (first !== undefined && !usesTemplate(renderer))
    throw new HeddleError("INVALID_ARGUMENT", `${first}: expected a model with a chat template, got one without`);
  return renderer;
}

/**
 * Copies plain JSON data, so that a saved chat has exactly the data that were rendered.
 * @throws HeddleError INVALID_ARGUMENT for other values, such as functions
 */
function* copied<T>(name: string, value: T): Slices<T> {
  try {
    const copy = yield* simpleCopy(value, 0);
    return copy !== notSimple ? (copy as T) : JSON.parse(JSON.stringify(structuredClone(value)));
  } catch (cause) {
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected plain data, got ${describe(cause)}`, { cause });
  }
}

/** Maximum depth of data that is copied directly. */
const SIMPLE_DEPTH = 64;
const notSimple = Symbol();

/** Copies plain JSON data without copying its strings, which may be long. Returns `notSimple` for other data. */
function* simpleCopy(value: unknown, depth: number): Slices<unknown> {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return value;
  if (typeof value === "number") return Number.isFinite(value) ? value + 0 : null; // adding 0 turns −0 into 0, as JSON does
  if (typeof value !== "object" || depth > SIMPLE_DEPTH) return notSimple;
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    for (const item of value) {
      const copy = yield* simpleCopy(item, depth + 1);
      if (copy === notSimple) return notSimple;
      items.push(copy);
      yield;
    }
    return items;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return notSimple;
  const out: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    const copy = yield* simpleCopy(member, depth + 1);
    yield;
    if (copy === notSimple) return notSimple;
    setOwn(out, name, copy);
  }
  return out;
}

/** Roles that templates know. Other roles are accepted if a template contains them in quotes. */
const ROLES: readonly unknown[] = ["system", "developer", "user", "assistant", "tool"];

/**
 * Roles whose messages need content. An assistant's message may consist of tool calls only. For other roles the
 * template decides.
 */
const SPEAKING: readonly unknown[] = ["system", "developer", "user", "tool"];

/**
 * Checks and copies a message: role, content, and other fields for templates, such as `tool_calls`.
 * @throws HeddleError INVALID_ARGUMENT; UNSUPPORTED for parts other than text, which a template would silently drop
 */
export function checkedMessage(renderer: Renderer, message: unknown): ChatMessage {
  return atOnce(messageInSlices(renderer, message));
}

/** Like checkedMessage, in slices. */
export function* messageInSlices(renderer: Renderer, message: unknown): Slices<ChatMessage> {
  const { role, content } = (isObject(message) ? message : {}) as Partial<ChatMessage>;
  if (!isObject(message) || !isRole(renderer, role))
    throw invalidArgument("message", `{ role: ${ROLES.join(", ")}; content }`, isObject(message) ? role : message);
  const hasTemplate = usesTemplate(renderer);
  const needsContent = SPEAKING.includes(role);
  const isContent =
    typeof content === "string" || (hasTemplate && (content == null ? !needsContent : isArray(content)));
  if (!isContent) {
    const expected = needsContent ? "a string or an array of parts" : "a string, an array of parts or null";
    throw invalidArgument(
      `message of ${role}: content`,
      hasTemplate ? expected : "a string, as the model has no chat template",
      content,
    );
  }
  if (typeof content === "object") checkParts(content, `message of ${role}: content`);
  return yield* copied(`message of ${role}`, message as ChatMessage);
}

/** A part of a message's content, as in OpenAI's API. */
interface TextPart {
  type: "text" | "refusal";
  text?: string;
  refusal?: string;
}

function checkParts(parts: ChatMessage["content"], name: string): void {
  // Array.from turns holes into undefined, which is refused.
  for (const [i, part] of Array.from((parts ?? []) as readonly unknown[]).entries()) {
    const { type, text, refusal } = (part ?? {}) as { [K in keyof TextPart]: unknown };
    if (typeof type === "string" && type !== "text" && type !== "refusal")
      throw new HeddleError(
        "UNSUPPORTED",
        `${name}[${i}].type: expected text, got ${describe(type)} (the model reads only text)`,
      );
    if (typeof type !== "string" || typeof (text ?? refusal) !== "string")
      throw invalidArgument(`${name}[${i}]`, '{ type: "text", text }', part);
  }
}

/** Returns a message's content as a string. Parts are joined by line breaks, as in vLLM. */
export function contentText(content: ChatMessage["content"]): string {
  if (!isArray(content)) return (content as string | null | undefined) ?? "";
  return (content as TextPart[]).map((part) => part.text ?? part.refusal).join("\n");
}

/** Converts content parts to strings, which every template supports. */
function withTexts(messages: readonly ChatMessage[]): ChatMessage[] {
  return messages.map((message) =>
    isArray(message.content) ? { ...message, content: contentText(message.content) } : message,
  );
}

/** Returns the text of the template. */
function chosenTemplate({ tokenizer, template }: Renderer): string {
  const hasToken = (token: string) => tokenizer.tokenToId(token) !== undefined;
  return chooseTemplate(tokenizer.config, hasToken, template);
}

/** Returns the messages in the fields and forms that the template reads. */
function renderedMessages(renderer: Renderer, messages: readonly ChatMessage[]): Slices<ChatMessage[]> {
  const chosen = chosenTemplate(renderer);
  const format = chooseCallFormat(chosen, renderer.callsOfFamily);
  return templateMessages(withTexts(messages), chosen, format && callFormatOf(format).shape);
}

/** Returns the options that render the prompt of the next answer. */
function promptOptions(renderer: Renderer): ChatTemplateOptions {
  const { template } = renderer;
  const tools = template.tools && templateTools(template.tools, chosenTemplate(renderer));
  return { ...template, tools, addGenerationPrompt: true };
}

function isRole({ tokenizer, template: { template } }: Renderer, role: unknown): role is string {
  if (ROLES.includes(role)) return true;
  if (typeof role !== "string" || !/^[\w.-]{1,64}$/u.test(role)) return false;
  const { chatTemplates } = tokenizer.config;
  return [...Object.values(chatTemplates), template].some(
    (text) => text?.includes(`"${role}"`) || text?.includes(`'${role}'`),
  );
}

/**
 * Returns the ids of a conversation before the next answer, rendered by the chat template or as a base model's
 * transcript. Long conversations are encoded without blocking the event loop.
 * @param fit drops the oldest turns (never the system message) so that `reserve` tokens stay free for the answer
 * @throws HeddleError CONTEXT_OVERFLOW if the ids exceed the context and `fit` is not given; ABORTED
 */
export async function conversationPrompt(
  { contextLength }: Pick<LanguageModel, "contextLength">,
  renderer: Renderer,
  messages: readonly ChatMessage[],
  { fit, signal }: { fit?: { reserve: number } | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Uint32Array> {
  const ids = await conversationIds(contextLength, renderer, messages, { fit, signal });
  const isCut = ids.length === contextLength + 1; // encoding stops one token beyond the context
  if (!fit && ids.length > contextLength)
    throw overflow(contextLength, isCut ? Number.POSITIVE_INFINITY : ids.length, { name: "messages" });
  return ids;
}

async function conversationIds(
  contextLength: number,
  renderer: Renderer,
  messages: readonly ChatMessage[],
  { fit, signal }: { fit: { reserve: number } | undefined; signal: AbortSignal | undefined },
): Promise<Uint32Array> {
  const { tokenizer } = renderer;
  if (!usesTemplate(renderer)) return tokenizer.encodeAsync(transcript(messages), { ...(signal && { signal }) });
  const options = promptOptions(renderer);
  const given = await inSlices(renderedMessages(renderer, messages), "chat template", signal);
  const { messages: kept } = fit
    ? await tokenizer.fitAsync(given, { ...options, signal, contextLength, ...fit })
    : { messages: given };
  const most = fit ? Number.POSITIVE_INFINITY : contextLength;
  return (await tokenizer.applyChatTemplateUpTo(most, kept, options, signal)).ids;
}

/** Returns the number of tokens of a conversation before its next answer, counted synchronously. */
export function conversationTokens(renderer: Renderer, messages: readonly ChatMessage[]): number {
  const { tokenizer } = renderer;
  if (!usesTemplate(renderer)) return tokenizer.count(transcript(messages));
  const options = promptOptions(renderer);
  return tokenizer.applyChatTemplate(atOnce(renderedMessages(renderer, messages)), options).ids.length;
}

/**
 * Renders the prompt for a base model without a template: the texts of all messages. An answer directly continues the
 * text before it, as the model generated it. All other messages begin on a new line.
 */
function transcript(messages: readonly ChatMessage[]): string {
  let text = "";
  for (const { role, content } of messages) text += role !== "assistant" && text !== "" ? `\n${content}` : content;
  return text;
}
