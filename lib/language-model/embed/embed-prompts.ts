import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import type { EmbeddingConfig } from "../../formats/config/config.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { promptIdsOf, withoutClosing } from "../../tokenizer/prompt-ids.ts";

/** Options for the prompt in front of an embedded text. */
export interface EmbedPromptOptions {
  /** A prompt to prepend to each text, as in training; "" for none. Excludes `promptName`. */
  prompt?: string | undefined;
  /** The same by its name among the model's `embedding.prompts`. Default: the model's `defaultPromptName`, if it has one. */
  promptName?: string | undefined;
}

/** The tokenizer functions needed for prompts. */
export type PromptTokenizer = Pick<Tokenizer, "encode" | "closingCount">;

/** The prompt of a call; "" for none. @param at what stands before names of options in messages @throws HeddleError INVALID_ARGUMENT for a name that the model lacks, with those that it has */
export function promptOf({ prompt, promptName }: EmbedPromptOptions, embedding: EmbeddingConfig, at = ""): string {
  if (prompt !== undefined && typeof prompt !== "string") throw invalidArgument("prompt", "a text", prompt);
  if (prompt !== undefined && promptName !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", "prompt: expected either a prompt or a promptName, got both");
  if (prompt !== undefined) return prompt;
  const { prompts = {}, defaultPromptName } = embedding;
  const name = promptName === undefined ? defaultPromptName : promptName;
  if (name === undefined) return "";
  if (typeof name === "string" && Object.hasOwn(prompts, name)) return prompts[name]!;
  const known = Object.keys(prompts);
  const near = typeof name === "string" ? nearest(name, known) : undefined;
  const expected =
    known.length === 0 ? "none, because this model has no prompts" : `one of ${known.slice(0, 50).join(", ")}`;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `${at}promptName: expected ${expected}${near === undefined ? "" : ` (nearest: ${near})`}, got ${describe(name)}`,
  );
}

/**
 * Returns a function that counts a text's leading tokens that belong to the prompt, including special tokens before it. Pooling leaves
 * them out. The prompt's own ids are not enough: its last space may be a separate token there, but part of the text's first word here.
 */
export function promptCounter(
  prompt: string,
  embedding: EmbeddingConfig,
  tokenizer: PromptTokenizer | undefined,
): (ids: ArrayLike<number>) => number {
  if (prompt === "" || embedding.includePrompt !== false || !tokenizer) return () => 0;
  return promptTokenCounter(prompt, embedding, tokenizer);
}

/** The same, whether pooling leaves them out or not; of an empty prompt what the tokenizer puts before a text. */
export function promptTokenCounter(
  prompt: string,
  embedding: EmbeddingConfig,
  tokenizer: PromptTokenizer,
): (ids: ArrayLike<number>) => number {
  return counterOf(promptIdsOf(tokenizer, embedding.lowercase ? prompt.toLowerCase() : prompt));
}

/** As promptCounter, of a prompt that may be long. Rejects with ABORTED. */
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
