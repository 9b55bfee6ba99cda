import { checkAttached, HeddleError, invalidArgument } from "../core/errors.ts";
import { wholeRange } from "../core/is-whole.ts";
import { checkFlag } from "../core/option-values.ts";
import { inSlices, type Slices } from "../core/slices.ts";
import type { ResolvedOptions } from "../inference/generation-options.ts";
import { isTokenId } from "../inference/logit-bias.ts";
import { checkPromptFits, promptName } from "../inference/sequence.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { LONG_TEXT } from "../tokenizer/text-codec.ts";
import type { LanguageModel } from "./language-model.ts";

/** A text, or token ids. */
export type Prompt = string | readonly number[] | Uint32Array | Int32Array;

/** Whether a value is a prompt. It checks only the first element of an array. */
export function isPrompt(value: unknown): value is Prompt {
  return (
    typeof value === "string" ||
    value instanceof Uint32Array ||
    value instanceof Int32Array ||
    (Array.isArray(value) && (value.length === 0 || typeof value[0] === "number"))
  );
}

/** Options for reading texts to embed or classify. */
export interface ReadTextOptions {
  /**
   * Truncates texts that are longer than the context (when embedding: than the model's `embedding.maxSeqLength`).
   * Without `truncation`, such texts are refused. A text loses its end, or the side that the tokenizer's `truncation`
   * names, but keeps special tokens such as an end token. Token ids lose their end.
   */
  truncation?: boolean | undefined;
  /** Stops the call, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
}

/** Options for tokenizing a prompt. */
interface PromptReading {
  tokenizer: Tokenizer | undefined;
  vocabSize: number;
  addSpecialTokens?: boolean;
  /** Name of the prompt in error messages. */
  name?: string;
  /** Whether the model continues the text. If so, trailing special tokens such as EOS are left out. */
  isContinued?: boolean;
}

/**
 * Tokenizes a prompt synchronously. Use `promptIdsAsync` if `needOffThread` returns true.
 * @throws INVALID_ARGUMENT for text without a tokenizer, an id outside the vocabulary, or a prompt without ids
 */
export function promptIds(prompt: unknown, reading: PromptReading): number[] {
  checkPrompt(prompt, reading);
  const { tokenizer, addSpecialTokens = true } = reading;
  const given =
    typeof prompt === "string" ? tokenizer!.encode(prompt, { addSpecialTokens, allowSpecial: true }) : prompt;
  const ids: number[] = new Array(lengthOf(prompt, given, reading));
  fill(ids, given, { from: 0, to: ids.length }, reading);
  return ids;
}

/** Upper bound of the average number of characters per token of a text. */
export const MAX_CHARACTERS_A_TOKEN = 128;

/** Minimum number of ids, in all prompts together, for which they are copied in slices. */
const LONG_IDS = 1 << 17;
/** Number of ids copied before yielding to the event loop. */
const SLICE_IDS = 1 << 14;
/** Number of ids that can be appended to a prompt's array before it must grow, which would copy the array. */
const ROOM_IDS = 1 << 10;

/** Whether tokenizing the prompts synchronously would block the event loop noticeably. */
export function needOffThread(prompts: readonly unknown[]): boolean {
  let [characters, ids] = [0, 0];
  for (const prompt of prompts)
    if (typeof prompt === "string") characters += prompt.length;
    else if (isPrompt(prompt)) ids += prompt.length;
  return characters >= LONG_TEXT || ids >= LONG_IDS;
}

/**
 * Tokenizes prompts without blocking the event loop. Texts are encoded on the tokenizer's threads, and ids are copied in slices.
 * @param reading.nameOf returns the name of prompt i in messages
 * @param reading.check called with the token count of prompt i before its ids are copied; throws if it is too long. The count is infinite
 * if encoding ended early
 * @throws HeddleError as promptIds; ABORTED
 */
export async function promptIdsAsync(
  prompts: readonly Prompt[],
  reading: Omit<PromptReading, "name"> & {
    nameOf: (i: number) => string;
    check?: ((tokens: number, i: number) => void) | undefined;
    /**
     * Maximum number of ids needed. Encoding of a longer text ends early. One id more is copied from a longer prompt,
     * so that its length still exceeds the maximum.
     */
    most?: number | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<number[][]> {
  const { nameOf, check, most = Number.POSITIVE_INFINITY, signal, ...rest } = reading;
  // Copy first: the caller may change its array while we wait.
  const own = Array.from(prompts, (prompt, i) => {
    checkPrompt(prompt, { ...rest, name: nameOf(i) });
    return typeof prompt === "string" ? prompt : prompt.slice();
  });
  const { tokenizer, addSpecialTokens = true } = rest;
  const texts = own.filter((prompt) => typeof prompt === "string");
  const options = { addSpecialTokens, allowSpecial: true, ...(signal && { signal }) };
  const closing = tokenizer?.closingCount ?? 0;
  const encoded = texts.length > 0 ? await tokenizer!.encodeUpTo(texts, most + closing, options) : [];
  const all: number[][] = [];
  let text = 0;
  for (const [i, prompt] of own.entries()) {
    const given = typeof prompt === "string" ? encoded[text++]! : prompt;
    const checked = (tokens: number) => {
      check?.(typeof prompt === "string" && tokens > most ? Number.POSITIVE_INFINITY : tokens, i);
      return Math.min(tokens, most + 1);
    };
    all.push(await inSlices(copied(prompt, given, { ...rest, name: nameOf(i) }, checked), "prompt", signal));
  }
  return all;
}

/**
 * Returns the ids of prompts that the model continues. Returns a promise if they are long.
 * @throws HeddleError as promptIds; CONTEXT_OVERFLOW for a long prompt that does not fit, before its ids are copied;
 * ABORTED
 */
export function continuedIds(
  { tokenizer, config }: Pick<LanguageModel, "tokenizer" | "config">,
  prompts: readonly Prompt[],
  options: Pick<ResolvedOptions, "addSpecialTokens" | "contextOverflow" | "signal"> & { contextLength: number },
): number[][] | Promise<number[][]> {
  const { addSpecialTokens, signal } = options;
  const reading = { tokenizer, vocabSize: config.vocabSize, addSpecialTokens, isContinued: true };
  const nameOf = (i: number) => promptName(i, prompts.length);
  if (!needOffThread(prompts)) return prompts.map((prompt, i) => promptIds(prompt, { ...reading, name: nameOf(i) }));
  const check = (tokens: number, i: number) => checkPromptFits(tokens, options, nameOf(i));
  const most = options.contextOverflow === "truncateLeft" ? undefined : options.contextLength;
  return promptIdsAsync(prompts, { ...reading, nameOf, check, most, signal });
}

function* copied(
  prompt: Prompt,
  given: ArrayLike<number>,
  reading: PromptReading,
  wanted: (tokens: number) => number,
): Slices<number[]> {
  const count = wanted(lengthOf(prompt, given, reading));
  const ids: number[] = new Array(count + ROOM_IDS);
  ids.length = count; // V8 keeps the array's capacity if most of it stays in use
  for (let from = 0; from < count; from += SLICE_IDS) {
    fill(ids, given, { from, to: Math.min(count, from + SLICE_IDS) }, reading);
    yield;
  }
  return ids;
}

/**
 * Checks the type of a prompt.
 * @throws HeddleError INVALID_ARGUMENT unless it is a prompt, and for text without a tokenizer
 */
function checkPrompt(prompt: unknown, { tokenizer, name = "prompt" }: PromptReading): asserts prompt is Prompt {
  if (!isPrompt(prompt)) throw invalidArgument(name, `a string or an array of token ids${hintFor(prompt)}`, prompt);
  checkAttached(name, prompt);
  if (typeof prompt === "string" && !tokenizer)
    throw invalidArgument(name, "token ids, because this model has no tokenizer", prompt);
}

/**
 * Returns the number of ids of a prompt, without trailing special tokens if the model continues the text.
 * @param given the prompt's ids, or those of its text
 * @throws HeddleError INVALID_ARGUMENT for zero ids
 */
function lengthOf(
  prompt: Prompt,
  given: ArrayLike<number>,
  { tokenizer, addSpecialTokens = true, name = "prompt", isContinued = false }: PromptReading,
): number {
  const closing = isContinued && addSpecialTokens && typeof prompt === "string" ? tokenizer!.closingCount : 0;
  const length = given.length - closing;
  if (length <= 0) throw invalidArgument(name, "at least one token", prompt);
  return length;
}

/** Copies a range of ids and then checks the copy, because the caller may change its array. */
function fill(
  ids: number[],
  given: ArrayLike<number>,
  { from, to }: { from: number; to: number },
  { vocabSize, name = "prompt" }: PromptReading,
): void {
  for (let i = from; i < to; i++) ids[i] = given[i]!;
  for (let i = from; i < to; i++)
    if (!isTokenId(ids[i], vocabSize))
      throw invalidArgument(
        `${name === "prompt" ? "" : `${name}: `}token id ${i}`,
        `${wholeRange(0, vocabSize - 1)}, the model's vocabulary`,
        ids[i],
      );
}

/** Returns a hint at what the caller may have meant. */
function hintFor(prompt: unknown): string {
  const first: unknown = Array.isArray(prompt) ? prompt[0] : prompt;
  if (typeof first !== "object" || first === null) return "";
  if ("role" in first) return " (for messages: model.chat(), or the ids of tokenizer.applyChatTemplate())";
  return "ids" in first ? " (pass its ids)" : "";
}

/** Returns one prompt or several as a list. */
export function promptList(prompts: unknown, what = "prompt"): Prompt[] {
  if (isPrompt(prompts)) return [prompts];
  if (!Array.isArray(prompts) || prompts.length === 0)
    throw invalidArgument(what, `a string, token ids, or an array of those${hintFor(prompts)}`, prompts);
  const all: unknown[] = Array.from(prompts); // turns holes into undefined, which is refused
  const wrong = all.findIndex((prompt) => !isPrompt(prompt));
  if (wrong >= 0)
    throw invalidArgument(promptName(wrong, all.length, what), `a string or token ids${hintFor(prompts)}`, all[wrong]);
  return prompts;
}

/** Maximum number of tokens of a text, and the name of the limit for messages. */
export interface TextLimit {
  contextLength: number;
  limit?: string | undefined;
}

/** Returns the ids of texts that a model reads as a whole. @throws HeddleError INVALID_ARGUMENT, CONTEXT_OVERFLOW */
export async function textIds(
  given: unknown,
  model: Pick<LanguageModel, "tokenizer" | "config"> & TextLimit,
  { truncation = false, signal }: ReadTextOptions,
): Promise<number[][]> {
  const { tokenizer, contextLength, limit = "the context length" } = model;
  const { vocabSize } = model.config;
  checkFlag("truncation", truncation);
  const texts = isEmptyList(given) ? [] : promptList(given, "text");
  const nameOf = (i: number) => promptName(i, texts.length, "text");
  const check = (tokens: number, i: number) => {
    if (tokens > contextLength && !truncation)
      throw new HeddleError(
        "CONTEXT_OVERFLOW",
        `${nameOf(i)}: expected at most ${contextLength} tokens, ${limit}, got ${Number.isFinite(tokens) ? tokens : "more"} (truncation: true cuts it)`,
      );
  };
  const all = needOffThread(texts)
    ? await promptIdsAsync(texts, { tokenizer, vocabSize, nameOf, check, most: contextLength, signal })
    : texts.map((text, i) => {
        const ids = promptIds(text, { tokenizer, vocabSize, name: nameOf(i) });
        check(ids.length, i);
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

/**
 * Returns the ids of a text that is too long, truncated by the tokenizer's `truncation`.
 * @throws HeddleError CONTEXT_OVERFLOW, ABORTED
 */
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
      `${name}: expected room for the ${around} special tokens of a text, got ${contextLength}, ${limit}`,
    );
  const truncation = { ...tokenizer.truncation, maxLength: contextLength };
  const options = { allowSpecial: true, truncation, padding: false, ...(signal && { signal }) };
  const [input] = await tokenizer.encodeInputs([text], options);
  return Array.from(input!.ids);
}

/** Whether a list of prompts is empty, so that there is nothing to do. */
export function isEmptyList(prompts: unknown): boolean {
  return Array.isArray(prompts) && prompts.length === 0;
}
