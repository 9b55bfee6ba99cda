// Limits the reasoning tokens of an answer by forcing the mark that closes the reasoning.
import type { ReasoningFormat } from "../../answers/format.ts";
import type { PromptEnd } from "../../answers/reader.ts";
import type { LogitContext, LogitProcessor } from "../../inference/generation-options.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";

/** Maximum number of tokens after the limit that may complete a character. The mark is forced after them. */
export const MAX_WAIT = 3;
/** The text to which a tokenizer decodes an incomplete character. */
export const INCOMPLETE = "\ufffd";

/** How reasoning is marked in an answer. */
type ReasoningMarks = Pick<ReasoningFormat, "open" | "close" | "closing">;

/**
 * Returns a processor that closes the reasoning of an answer after `maxTokens` tokens. The processor is stateless, so it
 * also works with drafts and several answers. Returns undefined if the prompt has already closed the reasoning.
 */
export function reasoningLimit(
  tokenizer: Tokenizer,
  { open, close, closing = close }: ReasoningMarks,
  { promptEnd, maxTokens }: { promptEnd: PromptEnd; maxTokens: number },
): LogitProcessor | undefined {
  if (promptEnd === "after") return undefined;
  const forced = marksIds(tokenizer, closing);
  // An opening mark that the model generates does not count as reasoning.
  const first = maxTokens + (promptEnd === "before" ? marksIds(tokenizer, open).length : 0);
  const isReasoning = (text: string) =>
    (promptEnd === "within" || text.trimStart().startsWith(open)) && !text.includes(close);
  return forcing(({ ids, promptLength }) => {
    const generated = ids.length - promptLength;
    if (generated < first) return { idle: first - generated };
    if (generated >= first + MAX_WAIT + forced.length) return NEVER;
    for (let start = first; start <= generated; start++) {
      const text = tokenizer.decode(ids.slice(promptLength, promptLength + start));
      if (!isReasoning(text)) return NEVER;
      if (text.endsWith(INCOMPLETE) && start < first + MAX_WAIT) continue;
      const token = forced[generated - start];
      return token === undefined ? NEVER : { token };
    }
    return { idle: 1 };
  });
}

/** The token to force next, or the number of steps before a token may be forced. */
type Forced = { token: number } | { idle: number };

/** No further token is forced. */
export const NEVER: Forced = { idle: Number.POSITIVE_INFINITY };

/** Returns a processor that forces the tokens that `next` returns. */
export function forcing(next: (context: LogitContext) => Forced): LogitProcessor {
  const processor: LogitProcessor = (logits, context) => {
    const forced = next(context);
    if (!("token" in forced)) return;
    logits.fill(Number.NEGATIVE_INFINITY);
    logits[forced.token] = 0;
  };
  processor.idleSteps = (context) => {
    const forced = next(context);
    return "token" in forced ? 0 : forced.idle;
  };
  return processor;
}

/** Returns the ids of a text. Special tokens in the text are encoded as single ids. */
export function marksIds(tokenizer: Tokenizer, text: string): Uint32Array {
  return tokenizer.encode(text, { addSpecialTokens: false, addPrefixSpace: false, allowSpecial: true });
}
