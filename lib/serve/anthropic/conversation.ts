// Converts the messages of Anthropic's API to those of the core, which are in the form of OpenAI's chat completions.
import { isObject } from "../../core/is-object.ts";
import type { Slices } from "../../core/slices.ts";
import { invalid, unsupported } from "../http/http-error.ts";

/** A message of the core. */
interface Message {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  reasoning_content?: string;
  tool_calls?: { id: string; function: { name: string; arguments: object } }[];
  tool_call_id?: string;
  name?: string;
}

/** Converts a system prompt and messages. @throws Refusal 400 for the first message that is invalid or not supported */
export function* convertedConversation(system: string | unknown[] | undefined, given: unknown[]): Slices<Message[]> {
  const conversation = new ConversationBuilder();
  if (system !== undefined) conversation.add({ role: "system", content: yield* textOf(system, "system") });
  for (const [i, message] of given.entries()) {
    const path = `messages[${i}]`;
    if (!isObject(message)) throw invalid(path, "a message with role and content", message);
    const { role, content } = message;
    if (typeof content !== "string" && !Array.isArray(content))
      throw invalid(`${path}.content`, "a text or an array of blocks", content);
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : content;
    if (role === "user") yield* conversation.addUser(blocks, `${path}.content`);
    else if (role === "assistant") yield* conversation.addAssistant(blocks, `${path}.content`);
    else if (role === "system") conversation.add({ role, content: yield* textOf(blocks, `${path}.content`) });
    else throw invalid(`${path}.role`, "user, assistant or system", role);
    yield;
  }
  return conversation.messages;
}

class ConversationBuilder {
  readonly messages: Message[] = [];
  /** Names of the functions that were called, by the ids of the calls. */
  private readonly called = new Map<string, string>();

  /** Adds a message. Messages of the same role in a row become one, as in Anthropic's API. */
  add(message: Message): void {
    const last = this.messages.at(-1);
    if (last?.role !== message.role || message.role === "tool") {
      this.messages.push(message);
      return;
    }
    last.content = joined(last.content, message.content);
    const reasoning = joined(last.reasoning_content ?? "", message.reasoning_content ?? "");
    if (reasoning !== "") last.reasoning_content = reasoning;
    const calls = [...(last.tool_calls ?? []), ...(message.tool_calls ?? [])];
    if (calls.length > 0) last.tool_calls = calls;
  }

  /** Adds a user's blocks. Tool results come before text, because they answer the calls of the previous message. */
  *addUser(blocks: readonly unknown[], path: string): Slices<void> {
    const texts: string[] = [];
    for (const [i, block] of blocks.entries()) {
      const at = `${path}[${i}]`;
      const type = typeOf(block, at);
      if (type === "text") texts.push(textIn(block, at));
      else if (type === "tool_result") this.add(yield* this.resultOf(block as Record<string, unknown>, at));
      else throw otherBlock(type, at, "text or tool_result");
      yield;
    }
    if (texts.length > 0) this.add({ role: "user", content: texts.join("\n") });
  }

  /** Adds an assistant's blocks. */
  *addAssistant(blocks: readonly unknown[], path: string): Slices<void> {
    const message: Message = { role: "assistant", content: "" };
    for (const [i, block] of blocks.entries()) {
      const at = `${path}[${i}]`;
      const type = typeOf(block, at);
      if (type === "text") message.content = joined(message.content, textIn(block, at));
      else if (type === "thinking")
        message.reasoning_content = joined(message.reasoning_content ?? "", textIn(block, at, "thinking"));
      else if (type === "tool_use") {
        message.tool_calls ??= [];
        message.tool_calls.push(this.callOf(block as Record<string, unknown>, at));
      } else throw otherBlock(type, at, "text, thinking or tool_use");
      yield;
    }
    this.add(message);
  }

  private *resultOf(
    { tool_use_id: id, content = "", is_error: isError }: Record<string, unknown>,
    at: string,
  ): Slices<Message> {
    const name = typeof id === "string" ? this.called.get(id) : undefined;
    if (typeof id !== "string" || name === undefined)
      throw invalid(`${at}.tool_use_id`, "the id of an earlier tool_use", id);
    if (typeof content !== "string" && !Array.isArray(content))
      throw invalid(`${at}.content`, "a text or an array of blocks", content);
    const text = yield* textOf(content, `${at}.content`);
    // Chat templates have no field for errors, so the text begins with "Error: ".
    return { role: "tool", tool_call_id: id, name, content: isError === true ? `Error: ${text}` : text };
  }

  private callOf({ id, name, input }: Record<string, unknown>, at: string): NonNullable<Message["tool_calls"]>[number] {
    if (typeof id !== "string" || id === "") throw invalid(`${at}.id`, "a text", id);
    if (typeof name !== "string" || name === "") throw invalid(`${at}.name`, "a text", name);
    if (!isObject(input)) throw invalid(`${at}.input`, "an object", input);
    this.called.set(id, name);
    return { id, function: { name, arguments: input } };
  }
}

const joined = (before: string, more: string) => (before === "" || more === "" ? before + more : `${before}\n${more}`);

/** Returns a text, or the texts of blocks, one per line. */
function* textOf(given: string | readonly unknown[], path: string): Slices<string> {
  if (typeof given === "string") return given;
  const texts: string[] = [];
  for (const [i, block] of given.entries()) {
    const at = `${path}[${i}]`;
    const type = typeOf(block, at);
    if (type !== "text") throw otherBlock(type, at, "text");
    texts.push(textIn(block, at));
    yield;
  }
  return texts.join("\n");
}

function typeOf(block: unknown, at: string): string {
  if (!isObject(block) || typeof block.type !== "string") throw invalid(at, "a block with a type", block);
  return block.type;
}

function textIn(block: unknown, at: string, field = "text"): string {
  const text = (block as Record<string, unknown>)[field];
  if (typeof text !== "string") throw invalid(`${at}.${field}`, "a text", text);
  return text;
}

/** Blocks of Anthropic's API that are known and not supported. */
const UNSUPPORTED =
  /^(image|document|search_result|redacted_thinking|container_upload|fallback|compaction|mcp_\w+|server_tool_use|tool_reference|\w+_tool_result)$/;

function otherBlock(type: string, at: string, expected: string): Error {
  return UNSUPPORTED.test(type)
    ? unsupported(`${at}.type`, `${type.slice(0, 60)} is not supported: expected ${expected}`)
    : invalid(`${at}.type`, expected, type);
}
