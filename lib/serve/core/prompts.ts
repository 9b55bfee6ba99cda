// Reads prompts, which may be one or several texts or lists of ids, as in `prompt` and `input`.

import { atOnce, pause, type Slices } from "../../core/slices.ts";
import { isTokenId } from "../../inference/logit-bias.ts";
import type { LanguageModel } from "../../language-model/index.ts";
import { cutText, type TextLimit } from "../../language-model/prompt.ts";
import { withoutClosing } from "../../tokenizer/prompt-ids.ts";
import { LONG_TEXT } from "../../tokenizer/text-codec.ts";
import { invalid, Refusal } from "../http/http-error.ts";
import type { Semaphore } from "../http/semaphore.ts";

/** The prompts of a request: their number, and a function that encodes them. */
export interface Prompts {
  count: number;
  ids(): Promise<number[][]>;
}

interface PromptsOptions {
  param: string;
  model: LanguageModel;
  maxPrompts: number;
  /** Whether the model continues the text. If so, trailing special tokens such as EOS are left out. */
  isContinued: boolean;
  /** Maximum number of tokens of each prompt. Default: the context length. */
  limit?: TextLimit;
  /** Whether to truncate longer prompts instead of refusing them. */
  truncation?: boolean | undefined;
  /** Schedules the encoding of long texts. */
  encoding: Semaphore;
  signal: AbortSignal;
}

/** Checks prompts. @throws Refusal 400, which `ids` throws too */
export function promptsOf(value: unknown, options: PromptsOptions): Prompts {
  const { param, maxPrompts, encoding, signal } = options;
  const expected = "a text, token ids, or an array of those";
  const isSingle = typeof value === "string" || (Array.isArray(value) && typeof value[0] === "number");
  const list = isSingle ? [value] : value;
  if (!Array.isArray(list) || list.length === 0) throw invalid(param, expected, value);
  if (list.length > maxPrompts) throw invalid(param, `at most ${maxPrompts} entries`, value);
  const idsOfEach = async () => {
    const all: number[][] = [];
    for (const [i, entry] of list.entries()) {
      await pause(); // short texts are encoded synchronously, and thousands of them would take long
      signal.throwIfAborted();
      const name = isSingle ? param : `${param}[${i}]`;
      if (typeof entry === "string") {
        const encoded = () => idsOf(entry, name, options);
        all.push(await (entry.length < LONG_TEXT ? encoded() : encoding.run(encoded, signal)));
      } else if (Array.isArray(entry) && entry.length > 0) all.push(checkedIds(entry, name, options));
      else throw invalid(name, expected, entry);
    }
    return all;
  };
  return { count: list.length, ids: idsOfEach };
}

async function idsOf(
  text: string,
  name: string,
  { model, isContinued, signal, limit = model, truncation = false }: PromptsOptions,
): Promise<number[]> {
  const { tokenizer } = model;
  if (!tokenizer) throw invalid(name, "token ids, because this model has no tokenizer", text);
  const options = { addSpecialTokens: true, allowSpecial: true };
  // Encoding a long text stops beyond the limit. The limit does not include closing tokens such as EOS, which may be removed again.
  const most = text.length < LONG_TEXT ? Number.POSITIVE_INFINITY : limit.contextLength + tokenizer.closingCount;
  const [encoded] = Number.isFinite(most)
    ? await tokenizer.encodeUpTo([text], most, { ...options, signal })
    : [tokenizer.encode(text, options)];
  const ids = isContinued ? withoutClosing(tokenizer, encoded!) : encoded!;
  if (ids.length === 0) throw invalid(name, "at least one token", text);
  if (truncation && ids.length > limit.contextLength) {
    const { contextLength, limit: what } = limit;
    return cutText(text, tokenizer, { contextLength, limit: what, name, signal });
  }
  checkLength({ length: encoded!.length > most ? Number.POSITIVE_INFINITY : ids.length }, name, limit);
  return Array.from(ids);
}

/** Checks a number of tokens, which is infinite if encoding ended early. @throws Refusal 400 */
function checkLength({ length }: { length: number }, name: string, { contextLength, limit }: TextLimit): void {
  const got = Number.isFinite(length) ? length : "more";
  if (length > contextLength)
    throw new Refusal(
      400,
      `${name}: expected at most ${contextLength} tokens, ${limit ?? "the context length"}, got ${got}`,
      { param: name, code: "context_length_exceeded" },
    );
}

function checkedIds(
  ids: readonly unknown[],
  name: string,
  { model, limit = model, truncation = false }: PromptsOptions,
): number[] {
  if (!truncation) checkLength(ids, name, limit);
  const { config } = model;
  const wrong = ids.findIndex((id) => !isTokenId(id, config.vocabSize));
  if (wrong >= 0) throw invalid(`${name}[${wrong}]`, `a token id below ${config.vocabSize}`, ids[wrong]);
  return ids.slice(0, limit.contextLength) as number[];
}

/** Counts the characters of strings in plain data. Returns more than `limit` if it contains more characters or values. */
export function charactersOf(data: unknown, limit: number): number {
  return atOnce(charactersInSlices(data, limit));
}

/** Like charactersOf, in slices. */
export function* charactersInSlices(data: unknown, limit: number): Slices<number> {
  let [characters, values] = [0, 0];
  const add = function* (value: unknown): Slices<boolean> {
    if (++values > limit) characters = limit + 1;
    else if (typeof value === "string") characters += value.length;
    else if (Array.isArray(value)) {
      // A for…in loop would convert all indices to strings first.
      for (let i = 0; i < value.length; i++) {
        if (!(yield* add(value[i]))) return false;
        yield;
      }
    } else if (typeof value === "object" && value !== null) {
      for (const name in value) {
        characters += name.length;
        if (!(yield* add((value as Record<string, unknown>)[name]))) return false;
        yield;
      }
    }
    return characters <= limit;
  };
  yield* add(data);
  return characters;
}
