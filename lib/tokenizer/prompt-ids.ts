import type { Tokenizer } from "./tokenizer.ts";

/**
 * Encodes a prompt for a model to continue: with the special tokens before a text, such as BOS, but without those after it, such as EOS.
 * Generation and training both use it, so that a model is prompted with the sequences it was trained on.
 */
export function promptIdsOf(tokenizer: Pick<Tokenizer, "encode" | "closingCount">, text: string): Uint32Array {
  return withoutClosing(tokenizer, tokenizer.encode(text, { allowSpecial: true }));
}

/**
 * Encodes a text that continues a prompt. Prompt and text are encoded together, and the ids after the prompt's are returned. TRL's trainers
 * tokenize completions in the same way.
 *
 * If a token spans the boundary, encoding both together changes the prompt's last ids, which cannot happen in generation. The text is then
 * encoded alone, without the tokenizer's space before a text.
 * @param prompt.ids the result of `promptIdsOf` for `prompt.text`
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

/** Returns the length of the common prefix of two sequences. */
export function commonPrefix(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const most = Math.min(a.length, b.length);
  let n = 0;
  while (n < most && a[n] === b[n]) n++;
  return n;
}

/** Removes the closing special tokens from the ids of `encode`. */
export function withoutClosing({ closingCount }: Pick<Tokenizer, "closingCount">, ids: Uint32Array): Uint32Array {
  return ids.subarray(0, ids.length - closingCount);
}

/** Truncates the ids of a text to `length` and keeps the closing special tokens, like `truncation` of `embed` and `classify`. */
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
