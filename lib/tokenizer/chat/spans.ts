// Maps tokens of a rendered conversation to messages.

import type { Render, Span } from "./assistant-mask.ts";
import type { ChatMessage } from "./chat.ts";
import { commonLength, findContent } from "./find-content.ts";

/**
 * The tokens of one message: `begin` to `end` (exclusive) is its whole turn with the markup around it, and
 * `contentBegin` to `contentEnd` (exclusive) is its content.
 */
export interface MessageSpan {
  /** Index of the message. */
  message: number;
  /** Index of the message's first token. */
  begin: number;
  /** One past the index of its last token. */
  end: number;
  /**
   * The tokens that overlap its content. `contentBegin` equals `contentEnd` if the rendered text does not contain the content literally.
   */
  contentBegin: number;
  /** One past the last of these tokens. */
  contentEnd: number;
}

/** The ranges of a message in the rendered text, in UTF-16 units: its turn, and its content. */
interface Turn {
  turn: Span;
  content: Span;
}

/** Renders a conversation in which the content of the last message is replaced. */
export type RenderOther = (messages: readonly ChatMessage[]) => string | undefined;

/**
 * Finds the messages in a rendered conversation, by rendering the messages up to each one. This works for any template. Text before all
 * messages (BOS, a default system prompt) belongs to the first message. Some templates render a message differently if others follow, for
 * example without its reasoning. Such a message is found by its content.
 */
export function messageTurns(
  messages: readonly ChatMessage[],
  full: string,
  render: Render,
  renderOther: RenderOther,
): Turn[] {
  const turns: Turn[] = [];
  let cursor = 0;
  for (const [i, message] of messages.entries()) {
    const isLast = i === messages.length - 1;
    const through = isLast ? full : render(messages.slice(0, i + 1), false);
    const content = typeof message.content === "string" ? message.content.trim() : "";
    let at = content === "" ? -1 : full.indexOf(content, cursor);
    let end: number;
    if (through !== undefined && full.startsWith(through) && through.length >= cursor) end = through.length;
    else end = at < 0 ? cursor : at + content.length;
    if (at >= 0 && full.indexOf(content, at + 1) >= 0 && full.indexOf(content, at + 1) < end) {
      // The content occurs twice in the turn, so the first occurrence may be markup. A rendering with other content has the same markup.
      const other = renderOther([...messages.slice(0, i), withOtherContent(message)]);
      if (other !== undefined) at = findContent(full, content, cursor, commonLength(full, other));
    }
    const inside = at >= cursor && at + content.length <= end;
    turns.push({ turn: [cursor, end], content: inside ? [at, at + content.length] : [end, end] });
    cursor = end;
  }
  return turns;
}

/** Returns the message with a private-use character as content. Markup does not contain it, and the content does not begin with it. */
function withOtherContent(message: ChatMessage): ChatMessage {
  const [one, other] = ["\ue000", "\ue001"] as const;
  return { ...message, content: String(message.content).trimStart().startsWith(one) ? other : one };
}

/**
 * Converts turns to tokens. A token belongs to the turn in which it begins.
 * @param offsets two numbers per token, as from Tokenizer.encodeWithOffsets
 * @param generationPrompt UTF-16 offset at which the generation prompt begins, or the text's length
 */
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
