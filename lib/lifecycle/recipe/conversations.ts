import type { PreferenceRow } from "./preference-rows.ts";
import { Random } from "./random.ts";
import type { ChatRow, Message } from "./sft-rows.ts";

/** Probability that a conversation consists of a single question. */
const ALONE = 0.5;

/**
 * Joins some rows into longer conversations of two to `maxTurns` turns. A model that was trained only on first questions
 * answers later questions badly, and confuses earlier turns with the question.
 */
export function conversations(seed: number, rows: readonly ChatRow[], maxTurns: number): ChatRow[] {
  if (maxTurns < 2) return [...rows];
  const random = new Random(seed * 16 + 5);
  const joined: ChatRow[] = [];
  for (let at = 0; at < rows.length; ) {
    const count = random.chance(ALONE) ? 1 : 2 + random.below(maxTurns - 1);
    joined.push({ messages: rows.slice(at, at + count).flatMap(({ messages }) => messages) });
    at += count;
  }
  return joined;
}

/** Puts turns of other rows before the question of some pairs. A conversation then has at most `maxQuestions` questions. */
export function pairsInConversations(
  seed: number,
  pairs: readonly PreferenceRow[],
  rows: readonly ChatRow[],
  maxQuestions: number,
): PreferenceRow[] {
  if (maxQuestions < 2) return [...pairs];
  const random = new Random(seed * 16 + 6);
  return pairs.map((pair) => {
    if (random.chance(ALONE)) return pair;
    const before: Message[] = Array.from({ length: 1 + random.below(maxQuestions - 1) }, () =>
      random.pick(rows),
    ).flatMap(({ messages }) => messages);
    return { ...pair, prompt: [...before, ...pair.prompt] };
  });
}
