import { firstOf } from "../../core/amounts.ts";
import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { promptIdsOf, withoutClosing } from "../../tokenizer/prompt-ids.ts";

/** Options for the prompt in front of an embedded text. */
export interface EmbedPromptOptions {
  /** A prompt to prepend to each text, as in training; "" for none. Cannot be combined with `promptName`. */
  prompt?: string | undefined;
  /**
   * Name of one of the model's `embedding.prompts` to prepend. Default: the model's `defaultPromptName`, if it has one.
   */
  promptName?: string | undefined;
}

/** The tokenizer functions needed for prompts. */
export type PromptTokenizer = Pick<Tokenizer, "encode" | "closingCount">;

/**
 * Returns the prompt of a call, or "" for none.
 * @param at prefix of the option's name in messages
 * @throws HeddleError INVALID_ARGUMENT for an unknown promptName; the message lists the known names
 */
export function promptOf({ prompt, promptName }: EmbedPromptOptions, embedding: EmbeddingConfig, at = ""): string {
  if (prompt !== undefined && typeof prompt !== "string") throw invalidArgument(`${at}prompt`, "a text", prompt);
  if (prompt !== undefined && promptName !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `${at}prompt: expected either a prompt or a promptName, got both`);
  if (prompt !== undefined) return prompt;
  const { prompts = {}, defaultPromptName } = embedding;
  const name = promptName === undefined ? defaultPromptName : promptName;
  if (name === undefined) return "";
  if (typeof name === "string" && Object.hasOwn(prompts, name)) return prompts[name]!;
  const known = Object.keys(prompts);
  const near = typeof name === "string" ? nearest(name, known) : undefined;
  const expected = known.length === 0 ? "none, because this model has no prompts" : `one of ${firstOf(known, 50)}`;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `${at}promptName: expected ${expected}${near === undefined ? "" : ` (nearest: ${near})`}, got ${describe(name)}`,
  );
}

/**
 * Returns a function that counts how many leading tokens of a text belong to the prompt, including special tokens before the prompt.
 * Pooling leaves these tokens out. The count may be less than the prompt's length in tokens, because a trailing space of the prompt may
 * merge with the text's first word.
 */
export function promptCounter(
  prompt: string,
  embedding: EmbeddingConfig,
  tokenizer: PromptTokenizer | undefined,
): (ids: ArrayLike<number>) => number {
  if (prompt === "" || embedding.includePrompt !== false || !tokenizer) return () => 0;
  return promptTokenCounter(prompt, embedding, tokenizer);
}

/**
 * Like promptCounter, but counts even if pooling includes the prompt. With an empty prompt, it counts the tokens that the tokenizer puts
 * before a text.
 */
export function promptTokenCounter(
  prompt: string,
  embedding: EmbeddingConfig,
  tokenizer: PromptTokenizer,
): (ids: ArrayLike<number>) => number {
  return counterOf(promptIdsOf(tokenizer, embedding.lowercase ? prompt.toLowerCase() : prompt));
}

/** Like promptCounter, but tokenizes a long prompt without blocking the event loop. Rejects with ABORTED. */
export async function promptCounterAsync(
  prompt: string,
  embedding: EmbeddingConfig,
  tokenizer: Tokenizer | undefined,
  signal: AbortSignal | undefined,
): Promise<(ids: ArrayLike<number>) => number> {
  if (prompt === "" || embedding.includePrompt !== false || !tokenizer) return () => 0;
  const text = embedding.lowercase ? prompt.toLowerCase() : prompt;
  const ids = await tokenizer.encodeAsync(text, { allowSpecial: true, ...(signal && { signal }) });
  return counterOf(withoutClosing(tokenizer, ids));
}

function counterOf(own: Uint32Array): (ids: ArrayLike<number>) => number {
  return (ids) => {
    const other = own.findIndex((id, i) => id !== ids[i]);
    return other < 0 ? own.length : other;
  };
}
