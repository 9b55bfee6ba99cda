import type { Tokenizer } from "../../tokenizer/index.ts";
import type { Choice, TopCandidate } from "../sequence.ts";

/** Texts of tokens, per tokenizer. A step may have thousands of candidates, and the next one has mostly the same. */
const texts = new WeakMap<Tokenizer, Map<number, string>>();

function textsOf(tokenizer: Tokenizer): Map<number, string> {
  let known = texts.get(tokenizer);
  if (!known) {
    known = new Map();
    texts.set(tokenizer, known);
  }
  return known;
}

/** The likeliest tokens that a choice reports, best first. */
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
