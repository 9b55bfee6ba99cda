import { invalidArgument } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { withoutClosing } from "../tokenizer/prompt-ids.ts";
import { isTokenId } from "./options.ts";

/** Text, or token ids as they are. */
export type Prompt = string | readonly number[] | Uint32Array | Int32Array;

export function isPrompt(value: unknown): value is Prompt {
  return (
    typeof value === "string" ||
    value instanceof Uint32Array ||
    value instanceof Int32Array ||
    (Array.isArray(value) && (value.length === 0 || typeof value[0] === "number"))
  );
}

/**
 * The ids of a prompt.
 * @param how.goesOn whether something is to follow: what the tokenizer puts behind a text is then left out
 * @throws INVALID_ARGUMENT for text without a tokenizer, an id outside the vocabulary, no ids at all
 */
export function promptIds(
  prompt: unknown,
  {
    tokenizer,
    vocabSize,
    addSpecialTokens = true,
    goesOn = false,
  }: {
    tokenizer: Tokenizer | undefined;
    vocabSize: number;
    addSpecialTokens?: boolean;
    goesOn?: boolean;
  },
): number[] {
  if (!isPrompt(prompt)) throw invalidArgument("prompt", `a string or an array of token ids${hintFor(prompt)}`, prompt);
  if (typeof prompt === "string" && !tokenizer)
    throw invalidArgument("prompt", "token ids, because this model has no tokenizer", prompt);
  const encoded = () => {
    const ids = tokenizer!.encode(prompt as string, { addSpecialTokens, allowSpecial: true });
    return goesOn && addSpecialTokens ? withoutClosing(tokenizer!, ids) : ids;
  };
  const given = typeof prompt === "string" ? encoded() : prompt;
  const ids: number[] = new Array(given.length); // a copy first: what is checked is what is used
  for (let i = 0; i < ids.length; i++) ids[i] = given[i]!;
  if (ids.length === 0) throw invalidArgument("prompt", "at least one token", prompt);
  for (let i = 0; i < ids.length; i++)
    if (!isTokenId(ids[i], vocabSize))
      throw invalidArgument(`token id ${i}`, `an integer of 0 to ${vocabSize - 1}, the model's vocabulary`, ids[i]);
  return ids;
}

/** What a caller who gave something else may have meant. */
function hintFor(prompt: unknown): string {
  const first: unknown = Array.isArray(prompt) ? prompt[0] : prompt;
  if (typeof first !== "object" || first === null) return "";
  if ("role" in first) return " (for messages: model.chat(), or the ids of tokenizer.applyChatTemplate())";
  return "ids" in first ? " (its ids)" : "";
}

/** One prompt or several. */
export function promptList(prompts: unknown): Prompt[] {
  if (isPrompt(prompts)) return [prompts];
  // Array.from: a hole is no prompt, and every() would pass over it.
  if (Array.isArray(prompts) && prompts.length > 0 && Array.from(prompts).every(isPrompt)) return prompts;
  throw invalidArgument("prompt", `a string, token ids, or an array of those${hintFor(prompts)}`, prompts);
}
