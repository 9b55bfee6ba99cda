// Maps tokens of a rendered conversation to messages.

import type { Render, Span } from "./assistant-mask.ts";
import type { ChatMessage } from "./chat.ts";

/** Tokens of one message, from `begin` to before `end`: its whole turn with the mark-up around it, or its content alone. */
export interface MessageSpan {
  /** Index of the message. */
  message: number;
  begin: number;
  end: number;
  /** The tokens that its content touches; the same number twice where the template does not write it as it is. */
  contentBegin: number;
  contentEnd: number;
}

/** The turns in UTF-16 units: what each message adds to the conversation before it. */
interface Turn {
  turn: Span;
  content: Span;
}

/**
 * Finds the messages in a rendered conversation by rendering it up to each message, which works for any template. Text before all messages
 * (BOS, a default system prompt) belongs to the first. A message that the template changes once others follow (for example drops thoughts)
 * is found by its content.
 */
export function messageTurns(messages: readonly ChatMessage[], full: string, render: Render): Turn[] {
  const turns: Turn[] = [];
  let cursor = 0;
  for (const [i, message] of messages.entries()) {
    const isLast = i === messages.length - 1;
    const through = isLast ? full : render(messages.slice(0, i + 1), false);
    const content = typeof message.content === "string" ? message.content.trim() : "";
    const at = content === "" ? -1 : full.indexOf(content, cursor);
    let end: number;
    if (through !== undefined && full.startsWith(through) && through.length >= cursor) end = through.length;
    else end = at < 0 ? cursor : at + content.length;
    const inside = at >= cursor && at + content.length <= end;
    turns.push({ turn: [cursor, end], content: inside ? [at, at + content.length] : [end, end] });
    cursor = end;
  }
  return turns;
}

/** Turns as tokens. A token belongs to the turn that it begins in. @param offsets as Tokenizer.encodeWithOffsets gives them */
export function messageSpans(turns: readonly Turn[], offsets: Uint32Array, generationPrompt: number): MessageSpan[] {
  const count = offsets.length / 2;
  let token = 0;
  return turns.map(({ turn, content }, message) => {
    const begin = token;
    const stop = message === turns.length - 1 ? generationPrompt : turn[1];
    while (token < count && offsets[2 * token]! < stop) token++;
    let contentBegin = begin;
    while (contentBegin < token && offsets[2 * contentBegin + 1]! <= content[0]) contentBegin++;
    let contentEnd = contentBegin;
    while (contentEnd < token && offsets[2 * contentEnd]! < content[1]) contentEnd++;
    return { message, begin, end: token, contentBegin, contentEnd };
  });
}
