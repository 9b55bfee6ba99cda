// Prefill: a conversation may end with a message of the assistant, which the answer continues.
import { invalid, unsupported } from "../http/http-error.ts";

/** The fields of a message that decide whether an answer can continue it. */
interface Continued {
  role: string;
  content: string;
  reasoning_content?: string;
  tool_calls?: readonly unknown[];
}

/**
 * Splits a conversation into its messages and the beginning of the answer. The beginning is the text of the last message
 * if the assistant wrote it.
 * @param thinks whether the answer begins with reasoning
 * @throws Refusal 400 if no answer can continue the last message
 */
export function withPrefill<M extends Continued>(
  messages: readonly M[],
  thinks: boolean,
): { messages: readonly M[]; prefill: string | undefined } {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return { messages, prefill: undefined };
  if (last.tool_calls) throw unsupported("messages", "expected results of the last message's tool calls, got none");
  if (last.reasoning_content !== undefined)
    throw unsupported(
      "messages",
      "expected a last message without thinking, because an answer cannot continue thinking",
    );
  if (thinks)
    throw unsupported("messages", "expected a last message of the user, because the answer begins with thinking");
  if (last.content !== last.content.trimEnd())
    throw invalid("messages", "a last message of the assistant that does not end with white space", last.content);
  return { messages: messages.slice(0, -1), prefill: last.content };
}
