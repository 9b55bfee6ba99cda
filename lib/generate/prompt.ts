import { HeddleError, invalidArgument } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { withoutClosing } from "../tokenizer/prompt-ids.ts";
import type { LanguageModel } from "./language-model.ts";
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

/** How texts are read that become a vector or a label. */
export interface ReadTextOptions {
  /**
   * Cuts texts that are longer than the context (to embed them: than the model's `embedding.maxSeqLength`), which are otherwise refused: at their end (or where the tokenizer's own `truncation` says), and
   * the tokens around a text, such as an end token, stay. Token ids are cut at their end.
   */
  truncation?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** What messages call one of some prompts. */
export function promptName(index: number, count: number, what = "prompt"): string {
  return count > 1 ? `${what}[${index}]` : what;
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
    name = "prompt",
    goesOn = false,
  }: {
    tokenizer: Tokenizer | undefined;
    vocabSize: number;
    addSpecialTokens?: boolean;
    /** What messages call it. */
    name?: string;
    goesOn?: boolean;
  },
): number[] {
  if (!isPrompt(prompt)) throw invalidArgument(name, `a string or an array of token ids${hintFor(prompt)}`, prompt);
  if (typeof prompt === "string" && !tokenizer)
    throw invalidArgument(name, "token ids, because this model has no tokenizer", prompt);
  const encoded = () => {
    const ids = tokenizer!.encode(prompt as string, { addSpecialTokens, allowSpecial: true });
    return goesOn && addSpecialTokens ? withoutClosing(tokenizer!, ids) : ids;
  };
  const given = typeof prompt === "string" ? encoded() : prompt;
  const ids: number[] = new Array(given.length); // a copy first: what is checked is what is used
  for (let i = 0; i < ids.length; i++) ids[i] = given[i]!;
  if (ids.length === 0) throw invalidArgument(name, "at least one token", prompt);
  for (let i = 0; i < ids.length; i++)
    if (!isTokenId(ids[i], vocabSize))
      throw invalidArgument(
        `${name === "prompt" ? "" : `${name}: `}token id ${i}`,
        `an integer of 0 to ${vocabSize - 1}, the model's vocabulary`,
        ids[i],
      );
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
export function promptList(prompts: unknown, what = "prompt"): Prompt[] {
  if (isPrompt(prompts)) return [prompts];
  if (!Array.isArray(prompts) || prompts.length === 0)
    throw invalidArgument(what, `a string, token ids, or an array of those${hintFor(prompts)}`, prompts);
  const all: unknown[] = Array.from(prompts); // a hole is no prompt
  const wrong = all.findIndex((prompt) => !isPrompt(prompt));
  if (wrong >= 0)
    throw invalidArgument(promptName(wrong, all.length, what), `a string or token ids${hintFor(prompts)}`, all[wrong]);
  return prompts;
}

/** Tokens of a text at most, and what messages call that. */
export interface TextLimit {
  contextLength: number;
  limit?: string | undefined;
}

/** The ids of texts that a model reads whole. @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW */
export async function textIds(
  given: unknown,
  model: Pick<LanguageModel, "tokenizer" | "config"> & TextLimit,
  { truncation = false, signal }: ReadTextOptions,
): Promise<number[][]> {
  const { tokenizer, contextLength, limit = "the context length" } = model;
  const { vocabSize } = model.config;
  if (typeof truncation !== "boolean") throw invalidArgument("truncation", "true or false", truncation);
  const texts = isEmptyList(given) ? [] : promptList(given, "text");
  const nameOf = (i: number) => promptName(i, texts.length, "text");
  const all = texts.map((text, i) => {
    const ids = promptIds(text, { tokenizer, vocabSize, name: nameOf(i) });
    if (ids.length > contextLength && !truncation)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `${nameOf(i)}: expected at most ${contextLength} tokens, ${limit}, got ${ids.length} (truncation: true cuts it)`,
      );
    return ids;
  });
  if (!truncation) return all;
  return Promise.all(
    all.map(async (ids, i) => {
      const text = texts[i];
      if (ids.length <= contextLength) return ids;
      if (typeof text !== "string") return ids.slice(0, contextLength);
      return cutText(text, tokenizer!, { name: nameOf(i), contextLength, limit, signal });
    }),
  );
}

/** The ids of a text that is too long, cut as `truncation` says. @throws HeddleError CONTEXT_OVERFLOW, ABORTED */
export async function cutText(
  text: string,
  tokenizer: Tokenizer,
  {
    name,
    contextLength,
    limit = "the context length",
    signal,
  }: TextLimit & { name: string; signal?: AbortSignal | undefined },
): Promise<number[]> {
  const around = tokenizer.encode("").length;
  if (around > contextLength)
    throw new HeddleError(
      "CONTEXT_OVERFLOW",
      `${name}: expected room for the ${around} tokens around it, got ${contextLength}, ${limit}`,
    );
  const truncation = { ...tokenizer.truncation, maxLength: contextLength };
  const options = { allowSpecial: true, truncation, padding: false, ...(signal && { signal }) };
  const [input] = await tokenizer.encodeInputs([text], options);
  return Array.from(input!.ids);
}

/** Nothing to do: of a list, not of a prompt, an empty array says so. */
export function isEmptyList(prompts: unknown): boolean {
  return Array.isArray(prompts) && prompts.length === 0;
}
