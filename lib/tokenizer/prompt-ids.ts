import type { Tokenizer } from "./tokenizer.ts";

/**
 * Ids of a text that a model is to go on from: with what the tokenizer puts in front of a text, such as BOS, without what it puts behind
 * one, such as EOS. Generation and the rows of training read prompts alike by it: else a model is asked other sequences than it learned.
 */
export function promptIdsOf(tokenizer: Pick<Tokenizer, "encode" | "closingCount">, text: string): Uint32Array {
  return withoutClosing(tokenizer, tokenizer.encode(text, { allowSpecial: true }));
}

/**
 * Ids of a text that continues a prompt. Both are encoded together, and the ids after the prompt's are returned, as TRL does it.
 *
 * A token that spans the border would replace the end of the prompt's ids, which generation never does. The text is then encoded alone,
 * without the space that the tokenizer puts before a text.
 * @param prompt.ids what `promptIdsOf` gives for `prompt.text`
 */
export function continuationIds(
  tokenizer: Pick<Tokenizer, "encode" | "closingCount">,
  prompt: { readonly text: string; readonly ids: ArrayLike<number> },
  text: string,
): Uint32Array {
  const { length } = prompt.ids;
  const together = promptIdsOf(tokenizer, prompt.text + text);
  if (commonPrefix(together, prompt.ids) === length) return together.subarray(length);
  return tokenizer.encode(text, { addSpecialTokens: false, addPrefixSpace: false, allowSpecial: true });
}

/** How many ids two sequences begin with in common. */
export function commonPrefix(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const most = Math.min(a.length, b.length);
  let n = 0;
  while (n < most && a[n] === b[n]) n++;
  return n;
}

/** Ids of a text as `encode` gives them, for something to follow them. */
export function withoutClosing({ closingCount }: Pick<Tokenizer, "closingCount">, ids: Uint32Array): Uint32Array {
  return ids.subarray(0, ids.length - closingCount);
}

/** Encodes a text and truncates it to `length`, keeping closing special tokens, like `truncation` of `embed` and `classify`. */
export function cutIds(
  { closingCount }: Pick<Tokenizer, "closingCount">,
  ids: Uint32Array,
  length: number,
): Uint32Array {
  if (ids.length <= length) return ids;
  const closing = Math.min(closingCount, length);
  const cut = ids.slice(0, length);
  cut.set(ids.subarray(ids.length - closing), length - closing);
  return cut;
}
