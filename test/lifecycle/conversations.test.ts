import { describe, expect, it } from "vitest";
import { conversations, pairsInConversations } from "../../lib/lifecycle/recipe/conversations.ts";
import { makeRecipe, quickSize } from "../../lib/lifecycle/recipe/recipe.ts";

const { sft, preferences } = makeRecipe(1, quickSize);
const lastTwo = (messages: readonly unknown[]) => messages.slice(-2);

describe("joined conversations", () => {
  it("contain every row once, in order, and half of them have one turn", () => {
    const joined = conversations(1, sft, 3);
    expect(joined.flatMap(({ messages }) => messages)).toEqual(sft.flatMap(({ messages }) => messages));
    const turns = joined.map(({ messages }) => messages.length / 2);
    expect(new Set(turns)).toEqual(new Set([1, 2, 3]));
    const alone = turns.filter((count) => count === 1).length / turns.length;
    expect(Math.abs(alone - 0.5)).toBeLessThan(0.1);
    for (const { messages } of joined)
      expect(messages.map(({ role }) => role)).toEqual(messages.map((_, i) => (i % 2 ? "assistant" : "user")));
  });

  it("keep the question and the answers of preference pairs, after turns with correct answers", () => {
    const pairs = pairsInConversations(1, preferences.train, sft, 3);
    expect(pairs.map(({ prompt, ...answers }) => ({ ...answers, question: prompt.at(-1) }))).toEqual(
      preferences.train.map(({ prompt, ...answers }) => ({ ...answers, question: prompt[0] })),
    );
    const known = new Set(sft.map(({ messages }) => JSON.stringify(lastTwo(messages))));
    const before = pairs.flatMap(({ prompt }) =>
      prompt.length > 1 ? [prompt.slice(0, 2), ...(prompt.length > 3 ? [prompt.slice(2, 4)] : [])] : [],
    );
    expect(before.length).toBeGreaterThan(pairs.length / 3);
    for (const turn of before) expect(known.has(JSON.stringify(turn))).toBe(true);
  });

  it("equal the original rows if at most one turn is requested", () => {
    expect(conversations(1, sft, 1)).toEqual(sft);
    expect(pairsInConversations(1, preferences.train, sft, 1)).toEqual(preferences.train);
    expect(sft.every(({ messages }) => messages.length === 2)).toBe(true);
  });
});
