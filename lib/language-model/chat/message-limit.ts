// Limits the reasoning tokens of answers that consist of messages, such as those of gpt-oss.
import type { MessageReasoning } from "../../answers/format.ts";
import type { LogitProcessor } from "../../inference/generation-options.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { forcing, INCOMPLETE, MAX_WAIT, marksIds, NEVER } from "./reasoning-limit.ts";

/**
 * Returns a processor that closes a reasoning message when the answer's reasoning messages have `maxTokens` tokens in total.
 * The model then chooses the next message. If that is reasoning again, it is closed at once, and the message after it
 * is the answer's text. The processor is stateless, so it also works with drafts and several answers. The prompt ends
 * in the header of the first message.
 */
export function messageLimit(
  tokenizer: Tokenizer,
  { content, ends, isIn, closing, closingToText }: MessageReasoning,
  maxTokens: number,
): LogitProcessor {
  const closings = [marksIds(tokenizer, closing), marksIds(tokenizer, closingToText)];
  const endSizes = ends.map((end) => marksIds(tokenizer, end).length);
  const longest = Math.max(...ends.map((end) => end.length));
  const texts = new Map<number, string>();
  const textOf = (id: number) => {
    const text = texts.get(id) ?? tokenizer.decode([id]);
    texts.set(id, text);
    return text;
  };
  const isIncomplete = (ids: readonly number[]) => tokenizer.decode(ids.slice(-MAX_WAIT - 1)).endsWith(INCOMPLETE);

  return forcing(({ ids, promptLength }) => {
    let header: string | undefined = ""; // undefined within the content of a message
    let [isReasoning, begin, tail] = [false, 0, ""];
    let [spent, closed] = [0, 0];
    for (let at = promptLength; ; at++) {
      const isSpent = isReasoning && spent >= maxTokens;
      if (isSpent && !(spent < maxTokens + MAX_WAIT && isIncomplete(ids.slice(begin, at)))) {
        const forced = closings[closed]!;
        const token = forced[ids.length - at];
        if (token !== undefined) return { token };
        at += forced.length;
        closed += 1;
        if (closed === closings.length) return NEVER; // the rest is the answer
        [header, isReasoning] = ["", false];
      }
      if (at >= ids.length) {
        // Count the fewest steps before a token is forced. Each step ends at most one header or one message, and spends at
        // most one token.
        const unspent = Math.max(0, maxTokens - spent);
        if (header !== undefined) return { idle: 1 + unspent };
        return { idle: isReasoning ? Math.max(1, unspent) : 2 + unspent };
      }
      const text = textOf(ids[at]!);
      if (header !== undefined) {
        header += text;
        const end = header.indexOf(content);
        if (end < 0) continue;
        [isReasoning, begin, tail] = [isIn(header.slice(0, end)), at + 1, ""];
        header = undefined;
        continue;
      }
      if (isReasoning) spent += 1;
      tail = tail.slice(-longest) + text;
      const ended = ends.findIndex((end) => tail.includes(end));
      if (ended < 0) continue;
      if (isReasoning) spent -= endSizes[ended]!;
      [header, isReasoning] = ["", false];
    }
  });
}
