// Converts items of OpenAI's Responses API to messages in the form of chat completions.
import type { Slices } from "../../../core/slices.ts";
import { Refusal } from "../../http/http-error.ts";
import { type Item, shownId, textOf } from "./items.ts";

interface Message {
  role: string;
  content: string;
  reasoning_content?: string;
  tool_call_id?: string;
  tool_calls?: object[];
}

/** The items of a conversation, and the request's instructions, which precede them. */
interface Conversation {
  items: readonly Item[];
  instructions: string | undefined;
}

/**
 * Returns the messages of a conversation. The assistant's reasoning, text and calls of one turn become one message.
 * @throws Refusal 400 for the output of an unknown call
 */
export function* messagesOf({ items, instructions }: Conversation): Slices<Message[]> {
  const messages: Message[] = [];
  const called = new Set<unknown>();
  let turn: Message | undefined; // the assistant's message that calls are added to
  let reasoning = "";
  const addAssistant = (content: string): Message => {
    const message = { role: "assistant", content, ...(reasoning !== "" && { reasoning_content: reasoning }) };
    reasoning = "";
    messages.push(message);
    return message;
  };
  const addOther = (message: Message) => {
    [turn, reasoning] = [undefined, ""]; // reasoning that no text or call follows is dropped
    messages.push(message);
  };
  for (const item of items) {
    switch (item.type) {
      case "reasoning": {
        const [content, summary] = [textOf(item.content, "content"), textOf(item.summary, "summary")];
        reasoning += content === "" ? summary : content;
        turn = undefined;
        break;
      }
      case "function_call": {
        called.add(item.call_id);
        turn ??= addAssistant("");
        turn.tool_calls ??= [];
        const { call_id: id, name, arguments: args } = item;
        turn.tool_calls.push({ id, type: "function", function: { name, arguments: args } });
        break;
      }
      case "function_call_output": {
        const id = item.call_id as string;
        if (!called.has(id))
          throw new Refusal(
            400,
            `input: expected a function_call before its output, got none with call_id ${shownId(id)}`,
            {
              param: "input",
              code: "invalid_value",
            },
          );
        addOther({ role: "tool", tool_call_id: id, content: textOf(item.output, "output") });
        break;
      }
      default: {
        const [role, content] = [item.role as string, textOf(item.content, "content")];
        if (role !== "assistant") addOther({ role, content });
        else if (turn?.content === "")
          turn.content = content; // the calls came first
        else turn = addAssistant(content);
      }
    }
    yield;
  }
  return instructions === undefined ? messages : withInstructions(messages, instructions);
}

/**
 * Puts the instructions before the conversation. Many templates accept only one system message, so an existing system
 * message is prefixed with the instructions.
 */
function withInstructions(messages: readonly Message[], instructions: string): Message[] {
  const [first, ...rest] = messages;
  return first?.role === "system" || first?.role === "developer"
    ? [{ ...first, content: `${instructions}\n\n${first.content}` }, ...rest]
    : [{ role: "system", content: instructions }, ...messages];
}
