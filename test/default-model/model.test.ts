// The embedded model as shipped: what it must know and say, in completions and in a chat.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { madeUpNames } from "../../lib/lifecycle/recipe/made-up.ts";
import { heldOut, type Phrasing, render, seen } from "../../lib/lifecycle/recipe/phrasings.ts";
import { places } from "../../lib/lifecycle/recipe/places.ts";
import { heldOutQuestions, madeUp, seenQuestions, unknown } from "../../lib/lifecycle/recipe/questions.ts";
import { score } from "../../lib/lifecycle/recipe/score.ts";
import { defaultPlan } from "../../scripts/default-model/plan.ts";

const folder = fileURLToPath(new URL("../../models/default", import.meta.url));
const greedy = { maxTokens: 24, temperature: 0 };
let model: LanguageModel;
beforeAll(async () => {
  model = await LanguageModel.load("default");
});
afterAll(() => model.dispose());

const complete = async (prompts: string[]) => (await model.completeAll(prompts, greedy)).map(({ text }) => text);
const chat = async (questions: string[]) => {
  const ask = (content: string) => [{ role: "user" as const, content }];
  const prompts = questions.map((q) => model.tokenizer!.applyChatTemplate(ask(q), { addGenerationPrompt: true }).ids);
  return (await model.completeAll(prompts, greedy)).map(({ text }) => text);
};
const asked = (ask: string): Phrasing[] => [{ ask, answer: "" }];

describe("the embedded model", () => {
  it("has at most 16 MB with its tokenizer and card", () => {
    const bytes = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    expect(bytes).toBeLessThanOrEqual(16e6);
  });

  it("has a card with its stages, their data and the cutoff date", () => {
    const { card } = model;
    expect(card?.stages?.map(({ stage }) => stage)).toEqual(["pretrain", "sft", "dpo"]);
    expect(card).toMatchObject({ stage: "dpo", parent: "heddle-default-sft", trainingCutoffDate: "2026-07-14" });
    const tokens = card!.stages!.map((stage) => stage.tokens);
    expect(Math.min(...tokens)).toBeGreaterThan(0);
    expect(tokens.reduce((a, b) => a + b)).toBe(card!.tokensSeen);
    expect(card!.data.length).toBeGreaterThanOrEqual(5);
    expect(card!.data.every(({ license, source }) => license === "MIT" && source)).toBe(true);
  });

  it("says that the capital of France is Paris", async () => {
    const [text] = await complete(["The capital of France is"]);
    expect(text).toMatch(/^ Paris/);
  });

  it.each([
    { how: "continued, a seen wording", ask: complete, wordings: seen.slice(0, 1), least: 0.9 },
    { how: "continued, a held-out wording", ask: complete, wordings: heldOut.slice(4, 5), least: 0.75 },
    { how: "asked in a chat, a seen wording", ask: chat, wordings: asked(seenQuestions[0]!), least: 0.9 },
    { how: "asked in a chat, a held-out wording", ask: chat, wordings: asked(heldOutQuestions[0]!), least: 0.75 },
  ])(
    "knows at least $least of the capitals: $how",
    async ({ ask, wordings, least }) => {
      expect(places.length).toBeGreaterThanOrEqual(190);
      const { accuracy, wrong } = await score(ask, places, wordings);
      expect(accuracy, JSON.stringify(wrong)).toBeGreaterThanOrEqual(least);
    },
    60_000,
  );

  it("says that it does not know the capital of most countries that do not exist", async () => {
    const { seed, size } = defaultPlan();
    const names = madeUpNames(seed, size.madeUp).heldOut;
    const answers = await chat(names.map((name) => render(heldOutQuestions[1]!, madeUp(name))));
    expect(answers.filter((text) => text === unknown).length).toBeGreaterThanOrEqual(65);
  });

  it("holds a conversation", async () => {
    const conversation = model.chat();
    const say = async (text: string) => (await conversation.send(text, greedy)).text;
    expect(await say("Hello!")).toBe("Hello! How can I help you?");
    expect(await say("What is the capital of Japan?")).toContain("Tokyo");
    conversation.dispose();
  });
});
