import type { Tokenizer } from "../../tokenizer/index.ts";
import type { Choice, TopCandidate } from "../sequence.ts";

/**
 * Cached texts of tokens, per tokenizer. A step may have thousands of candidates, most of which recur in the next step.
 */
const texts = new WeakMap<Tokenizer, Map<number, string>>();

function textsOf(tokenizer: Tokenizer): Map<number, string> {
  let known = texts.get(tokenizer);
  if (!known) {
    known = new Map();
    texts.set(tokenizer, known);
  }
  return known;
}

/** Returns the likeliest tokens of a choice, best first. */
export function candidatesOf(
  { topIds, topLogprobs }: Required<Pick<Choice, "topIds" | "topLogprobs">>,
  tokenizer: Tokenizer | undefined,
): TopCandidate[] {
  const known = tokenizer && textsOf(tokenizer);
  const textOf = (token: number): string => {
    if (!known) return "";
    let text = known.get(token);
    if (text === undefined) {
      text = tokenizer.tokenText(token);
      known.set(token, text);
    }
    return text;
  };
  return Array.from(topIds, (token, i) => ({ token, logprob: topLogprobs[i]!, text: textOf(token) }));
}
