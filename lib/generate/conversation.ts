import { describe, HeddleError, invalidArgument, withoutTokenizer } from "../errors.ts";
import type { ChatMessage, ChatTemplateOptions, Tokenizer } from "../tokenizer/index.ts";
import type { LanguageModel } from "./language-model.ts";

/** What a chat template gets beside the messages. */
export type ChatTemplate = Omit<ChatTemplateOptions, "addGenerationPrompt">;

/** A message of text alone, which needs no template. */
export type TextMessage = { role: "system" | "user" | "assistant"; content: string };

const isArray = (value: unknown) => Array.isArray(value);

/** What each of its options must be; a record, so that the compiler misses none. */
const TEMPLATE: Readonly<Record<keyof ChatTemplate, readonly [expected: string, holds: (value: unknown) => boolean]>> =
  {
    tools: ["an array", isArray],
    documents: ["an array", isArray],
    template: ["a string", (value) => typeof value === "string"],
    variables: ["an object", (value) => typeof value === "object" && value !== null && !isArray(value)],
  };
export const chatTemplateNames = Object.keys(TEMPLATE) as (keyof ChatTemplate)[];

/** What a conversation is rendered with. */
export interface Renderer {
  tokenizer: Tokenizer;
  template: ChatTemplate;
}

/** Whether messages go through a template; else they are a base model's transcript. */
function usesTemplate({ tokenizer, template }: Renderer): boolean {
  return template.template !== undefined || tokenizer.hasChatTemplate;
}

/** What of `given` a template gets, copied. @throws HeddleError INVALID_ARGUMENT, also where there is no template to get it */
export function checkedRenderer(tokenizer: Tokenizer | undefined, given: ChatTemplate): Renderer {
  if (!tokenizer) throw withoutTokenizer("chat");
  const template: Record<string, unknown> = {};
  for (const name of chatTemplateNames) {
    const value: unknown = given[name];
    if (value === undefined) continue;
    const [expected, holds] = TEMPLATE[name];
    if (!holds(value)) throw invalidArgument(name, expected, value);
    template[name] = copied(name, value);
  }
  const renderer: Renderer = { tokenizer, template };
  const [first] = Object.keys(template);
  if (first !== undefined && !usesTemplate(renderer))
    throw new HeddleError("INVALID_ARGUMENT", `${first}: expected a model with a chat template, got one without`);
  return renderer;
}

/** A copy of plain data, as JSON has it: what is saved is what was rendered. @throws HeddleError INVALID_ARGUMENT for what is none, such as functions */
function copied<T>(name: string, value: T): T {
  try {
    return JSON.parse(JSON.stringify(structuredClone(value)));
  } catch (cause) {
    throw new HeddleError("INVALID_ARGUMENT", `${name}: expected plain data, got ${describe(cause)}`, { cause });
  }
}

/** Roles that templates know. Another is taken where the conversation's own template names it. */
const ROLES: readonly unknown[] = ["system", "developer", "user", "assistant", "tool"];

/**
 * A copy of a message: role, content and, for templates, whatever else it has, such as `tool_calls`.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function checkedMessage(renderer: Renderer, message: unknown): ChatMessage {
  const isObject = typeof message === "object" && message !== null;
  const { role, content } = (isObject ? message : {}) as Partial<ChatMessage>;
  if (!isObject || !isRole(renderer, role))
    throw invalidArgument("message", `{ role: ${ROLES.join(", ")}; content }`, isObject ? role : message);
  const hasTemplate = usesTemplate(renderer);
  const isContent = typeof content === "string" || (hasTemplate && (content == null || isArray(content)));
  if (!isContent)
    throw invalidArgument(
      `message of ${role}: content`,
      hasTemplate ? "a string, an array of parts or null" : "a string, as the model has no chat template",
      content,
    );
  return copied(`message of ${role}`, message as ChatMessage);
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
 * Ids that a model sees of a conversation before it answers: its chat template's, or a base model's transcript.
 * @param fit drops the oldest turns (never the system's) so that this many tokens stay free for the answer
 */
export function conversationPrompt(
  { contextLength }: LanguageModel,
  renderer: Renderer,
  messages: readonly ChatMessage[],
  fit?: { reserve: number },
): number[] {
  const { tokenizer, template } = renderer;
  if (!usesTemplate(renderer)) return Array.from(tokenizer.encode(transcript(messages)));
  const options = { ...template, addGenerationPrompt: true };
  const kept = fit ? tokenizer.fit(messages, { ...options, contextLength, ...fit }).messages : messages;
  return Array.from(tokenizer.applyChatTemplate(kept, options).ids);
}

/**
 * What a base model continues: the texts of all messages, each question on a new line and its answer right behind it.
 */
function transcript(messages: readonly ChatMessage[]): string {
  let text = "";
  for (const { role, content } of messages) text += role !== "assistant" && text !== "" ? `\n${content}` : content;
  return text;
}
