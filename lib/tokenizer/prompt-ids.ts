import type { Tokenizer } from "./tokenizer.ts";

/**
 * Ids of a text that a model is to go on from: with what the tokenizer puts in front of a text, such as BOS, without what it puts behind
 * one, such as EOS. Generation and the rows of training read prompts alike by it: else a model is asked other sequences than it learned.
 */
export function promptIdsOf(tokenizer: Pick<Tokenizer, "encode" | "closingCount">, text: string): Uint32Array {
  return withoutClosing(tokenizer, tokenizer.encode(text, { allowSpecial: true }));
}

/** Ids of a text as `encode` gives them, for something to follow them. */
export function withoutClosing({ closingCount }: Pick<Tokenizer, "closingCount">, ids: Uint32Array): Uint32Array {
  return ids.subarray(0, ids.length - closingCount);
}

/** Ids of a text, cut to `length`: its beginning, and behind it what the tokenizer puts behind a text, as `truncation` of `embed` and `classify` cuts. */
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
