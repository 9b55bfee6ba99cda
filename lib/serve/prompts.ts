// Texts or ids, one or several, as `prompt` and `input` take them.
import type { LanguageModel } from "../generate/index.ts";
import { isTokenId } from "../generate/options.ts";
import { invalid, Refusal } from "./refusal.ts";

/** @returns ids of each @throws Refusal 400 */
export async function promptsOf(
  value: unknown,
  { param, model, most, signal }: { param: string; model: LanguageModel; most: number; signal: AbortSignal },
): Promise<number[][]> {
  const expected = "a text, token ids, or an array of those";
  const isSingle = typeof value === "string" || (Array.isArray(value) && typeof value[0] === "number");
  const list = isSingle ? [value] : value;
  if (!Array.isArray(list) || list.length === 0) throw invalid(param, expected, value);
  if (list.length > most) throw invalid(param, `at most ${most} entries`, value);
  const all: number[][] = [];
  for (const [i, entry] of list.entries()) {
    const name = isSingle ? param : `${param}[${i}]`;
    if (typeof entry === "string") all.push(await idsOf(entry, name, model, signal));
    else if (Array.isArray(entry) && entry.length > 0) all.push(checkedIds(entry, name, model));
    else throw invalid(name, expected, entry);
  }
  return all;
}

async function idsOf(text: string, name: string, { tokenizer }: LanguageModel, signal: AbortSignal): Promise<number[]> {
  if (!tokenizer) throw invalid(name, "token ids, because this model has no tokenizer", text);
  const ids = Array.from(await tokenizer.encodeAsync(text, { addSpecialTokens: true, allowSpecial: true, signal }));
  if (ids.length === 0) throw invalid(name, "at least one token", text);
  return ids;
}

function checkedIds(ids: readonly unknown[], name: string, { config, contextLength }: LanguageModel): number[] {
  if (ids.length > contextLength)
    throw new Refusal(400, `${name}: expected at most ${contextLength} tokens, the context length, got ${ids.length}`, {
      param: name,
      code: "context_length_exceeded",
    });
  const wrong = ids.findIndex((id) => !isTokenId(id, config.vocabSize));
  if (wrong >= 0) throw invalid(`${name}[${wrong}]`, `a token id below ${config.vocabSize}`, ids[wrong]);
  return ids as number[];
}
