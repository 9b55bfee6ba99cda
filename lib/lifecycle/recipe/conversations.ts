import type { PreferenceRow } from "./preference-rows.ts";
import { Random } from "./random.ts";
import type { ChatRow, Message } from "./sft-rows.ts";

/** Half of what is said is the first thing that is said; the rest comes after one or more other turns. */
const ALONE = 0.5;

/**
 * The same rows as longer conversations: some are joined, of two to `most` turns. A model that has only seen first questions answers
 * later ones badly, and sees what was said before as part of the question.
 */
export function conversations(seed: number, rows: readonly ChatRow[], most: number): ChatRow[] {
  if (most < 2) return [...rows];
  const random = new Random(seed * 16 + 5);
  const joined: ChatRow[] = [];
  for (let at = 0; at < rows.length; ) {
    const count = random.chance(ALONE) ? 1 : 2 + random.below(most - 1);
    joined.push({ messages: rows.slice(at, at + count).flatMap(({ messages }) => messages) });
    at += count;
  }
  return joined;
}

/** Pairs of which some have turns of the rows before their question, so that it is at most the `most`th. */
export function pairsInConversations(
  seed: number,
  pairs: readonly PreferenceRow[],
  rows: readonly ChatRow[],
  most: number,
): PreferenceRow[] {
  if (most < 2) return [...pairs];
  const random = new Random(seed * 16 + 6);
  return pairs.map((pair) => {
    if (random.chance(ALONE)) return pair;
    const before: Message[] = Array.from({ length: 1 + random.below(most - 1) }, () => random.pick(rows)).flatMap(
      ({ messages }) => messages,
    );
    return { ...pair, prompt: [...before, ...pair.prompt] };
  });
}
