// Finds the assistant's tokens in a rendered conversation, on which supervised fine-tuning trains.
import type { ChatMessage } from "./chat.ts";
import { commonLength, findContent } from "./find-content.ts";

/** A range of a text in UTF-16 units. */
export type Span = readonly [begin: number, end: number];

/** Whether a message is the assistant's. Data for Gemma calls the role "model". */
export const isAssistant = ({ role }: Pick<ChatMessage, "role">): boolean => role === "assistant" || role === "model";

/** Renders messages. Returns undefined if the template refuses them, such as a conversation that begins with an answer. */
export type Render = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string | undefined;

/**
 * Finds the assistant's turns in a rendered conversation, from after the generation prompt to the end of the turn. The conversation
 * is rendered up to each turn, which works for any template. A template may render a turn differently when others follow, for example
 * without its thoughts. Such a turn is found by its content, or skipped.
 */
export function assistantSpans(messages: readonly ChatMessage[], full: string, render: Render): Span[] {
  const spans: Span[] = [];
  let cursor = 0;
  for (const [i, message] of messages.entries()) {
    if (!isAssistant(message)) continue;
    const through = i === messages.length - 1 ? full : render(messages.slice(0, i + 1), false);
    const isWhole = through !== undefined && full.startsWith(through);
    const turn: Turn = { text: isWhole ? through : full, isWhole, before: messages.slice(0, i), message, cursor };
    const span = turnSpan(turn, render);
    if (!span) continue;
    spans.push(span);
    cursor = span[1];
  }
  return spans;
}

/** A turn of the assistant. */
interface Turn {
  /** The rendered conversation: up to this turn if `isWhole`, otherwise all of it. */
  text: string;
  isWhole: boolean;
  before: readonly ChatMessage[];
  message: ChatMessage;
  /** The end of the last span. */
  cursor: number;
}

function turnSpan({ text, isWhole, before, message, cursor }: Turn, render: Render): Span | undefined {
  const prompted = render(before, true) ?? "";
  const isPrompted = prompted !== "" && text.startsWith(prompted);
  if (isWhole && isPrompted) return [prompted.length, text.length];
  // The turn does not begin with the whole generation prompt (which may open a thought), or the template renders it
  // differently because others follow. Find its content instead.
  const plain = isPrompted ? "" : (render(before, false) ?? "");
  const begin = text.startsWith(plain) ? plain.length : 0;
  const content = typeof message.content === "string" ? message.content.trim() : "";
  const at = findContent(text, content, Math.max(begin, cursor), commonLength(text, prompted));
  return at < 0 ? undefined : [at, isWhole ? text.length : at + content.length];
}

/**
 * Marks the tokens in the spans with 1. A token that begins before a span and extends into it is marked: it is the answer's first word if
 * the generation prompt ends in a space. A special token right after a span is marked, because it ends the turn. White space after the
 * special token is not marked, because the model stops before it.
 * @param offsets two numbers per token, as from Tokenizer.encodeWithOffsets
 */
export function tokenMask(
  text: string,
  ids: Uint32Array,
  offsets: Uint32Array,
  spans: readonly Span[],
  isSpecial: (id: number) => boolean,
): Uint8Array {
  const mask = new Uint8Array(ids.length);
  let token = 0;
  for (const [begin, end] of spans) {
    while (token < ids.length && offsets[2 * token]! < begin && offsets[2 * token + 1]! <= begin) token++;
    let last = -1; // index of the last special token in the span
    let stop = token;
    for (; stop < ids.length && offsets[2 * stop]! < end && offsets[2 * stop + 1]! <= end; stop++)
      if (isSpecial(ids[stop]!)) last = stop;
    if (last >= 0 && text.slice(offsets[2 * last + 1]!, end).trim() === "") stop = last + 1;
    else if (last < 0 && stop < ids.length && isSpecial(ids[stop]!) && offsets[2 * stop]! === end) stop++;
    mask.fill(1, token, stop);
    token = stop;
  }
  return mask;
}
