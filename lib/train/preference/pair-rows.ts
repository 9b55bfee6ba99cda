import { fieldsOf, gotText, type LocatedRow, rowError } from "../../data/rows.ts";
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";
import { checkedMessages } from "../examples/sft-rows.ts";
import type { PreferencePair } from "./pairs.ts";
import type { EncodedPrompt, RowEncoder } from "./rows.ts";

/**
 * Returns the pairs of a row. It has one of these shapes: `{ prompt, chosen, rejected }`, with an optional number
 * `margin`; `{ chosen, rejected }`, two conversations with the same beginning; or `{ prompt, ranked }`, answers from
 * best to worst, where a nested array holds equally good answers. A ranking gives a pair for every two answers that are
 * not equally good. A prompt that a judge dismissed, `{ prompt, dismissed: true }`, gives none.
 */
export function pairsOf(row: LocatedRow, encoder: RowEncoder): PreferencePair[] {
  const { value } = row;
  if (value.dismissed === true) return [];
  if (Object.hasOwn(value, "ranked")) return rankedPairs(row, encoder);
  if (!Object.hasOwn(value, "chosen") && !Object.hasOwn(value, "rejected")) {
    throw rowError(row, "row", "prompt, chosen and rejected, or prompt and ranked", gotText(fieldsOf(row)));
  }
  const { prompt, chosen, rejected } = value.prompt === undefined ? implicitPrompt(row) : value;
  const encoded = encoder.prompt(row, prompt);
  const better = encoder.answer(row, encoded, "chosen", chosen);
  const worse = encoder.answer(row, encoded, "rejected", rejected);
  const { margin } = value;
  if (margin !== undefined && margin !== null && !(typeof margin === "number" && Number.isFinite(margin)))
    throw rowError(row, "margin", "a number", margin);
  return [{ chosen: better, rejected: worse, ...(typeof margin === "number" && { margin }) }];
}

function rankedPairs(row: LocatedRow, encoder: RowEncoder): PreferencePair[] {
  const { ranked } = row.value;
  if (!Array.isArray(ranked)) throw rowError(row, "ranked", "an array of answers, best first", ranked);
  const prompt = encoder.prompt(row);
  const ranks = ranked.map((given, i) => rankOf(row, encoder, prompt, `ranked[${i}]`, given));
  if (ranks.flat().length < 2) throw rowError(row, "ranked", "at least two answers, best first", ranked);
  return ranks.flatMap((better, i) =>
    ranks.slice(i + 1).flatMap((worse) => better.flatMap((chosen) => worse.map((rejected) => ({ chosen, rejected })))),
  );
}

/** Returns the answers of one rank: one (a text, or messages), or an array of equally good ones. */
function rankOf(row: LocatedRow, encoder: RowEncoder, prompt: EncodedPrompt, field: string, given: unknown) {
  const several = Array.isArray(given) && given.every((v) => typeof v === "string" || Array.isArray(v));
  if (several && given.length === 0) throw rowError(row, field, "at least one answer", gotText("an empty array"));
  const answers: unknown[] = several ? given : [given];
  return answers.map((answer, i) => encoder.answer(row, prompt, several ? `${field}[${i}]` : field, answer));
}

/** Whether both answers of a pair are the same, so that nothing can be learned from it. */
export function isTie({ chosen, rejected }: PreferencePair): boolean {
  return chosen.ids.length === rejected.ids.length && chosen.ids.every((id, i) => id === rejected.ids[i]);
}

/** Splits two conversations into their common messages and one answer each. */
function implicitPrompt(row: LocatedRow): { prompt: unknown; chosen: unknown; rejected: unknown } {
  const { chosen, rejected } = row.value;
  if (!Array.isArray(chosen) || !Array.isArray(rejected))
    throw rowError(row, "prompt", "a text, or an array of messages", undefined);
  const [better, worse] = [checkedMessages(row, "chosen", chosen), checkedMessages(row, "rejected", rejected)];
  const same = (a: ChatMessage, b: ChatMessage | undefined) => JSON.stringify(a) === JSON.stringify(b);
  const differs = better.findIndex((message, i) => !same(message, worse[i]));
  // If they are equal, or one continues the other, at least the last message is an answer.
  const shared = Math.min(differs < 0 ? better.length : differs, better.length - 1, worse.length - 1);
  if (shared === 0) throw rowError(row, "prompt", "messages that chosen and rejected both begin with", gotText("none"));
  return { prompt: better.slice(0, shared), chosen: better.slice(shared), rejected: worse.slice(shared) };
}
